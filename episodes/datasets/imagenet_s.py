"""ImageNet-S: masks of ImageNet's images (Gao et al., 2022)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torchvision import tv_tensors

from episodes.annotation import checked_boxes, mask_box
from episodes.datasets.category_masks import check_same_size, pixel_counts, pixel_counts_of, two_byte_categories
from episodes.datasets.class_folders import images_by_class
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, read_image
from episodes.naming import unknown_name
from episodes.text_files import read_text

PARTS = ("validation", "train-semi")
SUBSETS = (50, 300, 919)
OTHER, IGNORED = 0, 1000


class ImageNetS:
    """Photographs with the mask of their class; class names are the WordNet ids (``n01440764``).

    Image and mask are ``<part>/<WordNet id>/<image>.JPEG`` and
    ``<part>-segmentation/<WordNet id>/<image>.png``; every mask is an image of the set. A pixel's
    category is red + 256·green, counted from 1 over the sorted WordNet ids of the subset; 0 is
    anything else, 1000 is to be ignored. The mask is True on the pixels of the image's own class,
    the box is its tight box; an image whose mask shows none of it has no box.

    ``single_category`` keeps only the images whose mask shows their own class and no other (0 and
    1000 apart), as LaFAM does, whose authors were left with 11,294 of the 12,419 validation images of
    all 919 classes. It reads every mask when the set is opened, on all cores.

    Args:
        root: the folder of one subset, such as ``ImageNetS919``.
        part: validation or train-semi.
        single_category: leave out images with more than one category, or with another than their own.
        categories: the official list ``ImageNetS_categories_im919.txt`` of the subset, one WordNet id a
            line; None: the class folders, which then have to be 50, 300 or 919.

    Raises:
        FileNotFoundError: a folder or the list is missing.
        LookupError: unknown part.
        ValueError: the class folders are no complete subset, one is not in the list, a mask cannot
            be read, or no image is left.
    """

    def __init__(
        self,
        root: str | Path,
        part: str = "validation",
        *,
        single_category: bool = False,
        categories: str | Path | None = None,
    ) -> None:
        if part not in PARTS:
            raise unknown_name("part of ImageNet-S", part, PARTS)
        masks = Path(root) / f"{part}-segmentation"
        files = images_by_class(masks)
        self._number_of = _numbers(masks, tuple(files), categories)
        listed = [(mask, wnid) for wnid, found in files.items() for mask in found]
        kept = _single(listed, self._number_of) if single_category else listed
        if not kept:
            raise Mistake(f"no mask of {masks} shows its own class alone; drop single_category or restore the masks.")
        self.name: str = f"imagenet-s{len(self._number_of)} {part}{' single-category' if single_category else ''}"
        self.classes: tuple[str, ...] = tuple(files)
        label_of = {wnid: label for label, wnid in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array([label_of[wnid] for _, wnid in kept], np.int64)
        self.paths: tuple[Path, ...] = tuple(Path(root) / part / wnid / f"{mask.stem}.JPEG" for mask, wnid in kept)
        self._masks = [mask for mask, _ in kept]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, where, label = self.paths[position], self._masks[position], int(self.labels[position])
        image, categories = read_image(path, upright=False), two_byte_categories(where)
        check_same_size(categories, image, where)
        _check_known(pixel_counts(categories), self._number_of, where)
        mask = torch.from_numpy(categories == self._number_of[self.classes[label]])
        size = (image.height, image.width)
        boxes = checked_boxes(mask_box(mask[None]), size, str(where)) if bool(mask.any()) else None
        return LabeledImage(image, label, self.classes[label], boxes, tv_tensors.Mask(mask), path)


def _numbers(masks: Path, folders: Sequence[str], categories: str | Path | None) -> dict[str, int]:
    """Return the number that the masks give to each WordNet id."""
    known: Sequence[str] = folders
    if categories is not None:
        path = Path(categories)
        if not path.is_file():
            raise MissingFile(f"the list of categories {path} does not exist; check the path.")
        known = sorted(read_text(path).split())
        strange = [wnid for wnid in folders if wnid not in known]
        if strange:
            raise Mistake(f"{masks} holds the class {strange[0]}, which {path} lacks; expected the same subset.")
    elif len(folders) not in SUBSETS:
        raise Mistake(
            f"{masks} holds {len(folders)} class folders; expected 50, 300 or 919, because the masks number the "
            "categories of the whole subset. Restore the others or give the official list as categories."
        )
    return {wnid: number for number, wnid in enumerate(known, start=1)}


def _single(listed: list[tuple[Path, str]], number_of: Mapping[str, int]) -> list[tuple[Path, str]]:
    counts = pixel_counts_of([mask for mask, _ in listed], two_byte_categories)
    kept = []
    for (mask, wnid), count in zip(listed, counts, strict=True):
        _check_known(count, number_of, mask)
        if set(count) - {OTHER, IGNORED} == {number_of[wnid]}:
            kept.append((mask, wnid))
    return kept


def _check_known(counts: Mapping[int, int], number_of: Mapping[str, int], path: Path) -> None:
    strange = [number for number in counts if number > len(number_of) and number != IGNORED]
    if strange:
        raise Mistake(
            f"the mask {path} holds the category {strange[0]}, but there are {len(number_of)}; "
            "expected the masks of this subset."
        )
