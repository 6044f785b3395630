"""Caltech-UCSD Birds-200-2011 in its official layout (Wah et al., 2011)."""

from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torchvision import tv_tensors

from episodes.annotation import checked_boxes
from episodes.datasets.category_masks import check_same_size
from episodes.datasets.cub_parts import PartLocation, part_locations
from episodes.errors import MissingFile, Mistake, UnknownName
from episodes.labeled_image import LabeledImage, decoded, read_image
from episodes.naming import unknown_name
from episodes.text_files import read_lines

PARTS = ("train", "test")
MAJORITY = 128
"""Gray value from which a pixel is object: the segmentations are averages over annotators, 255 where all agree."""


class Cub200:
    """Photographs of birds, one box each; class names are the official folder names (``001.Black_footed_Albatross``).

    ``root`` is the folder that holds ``images.txt``, or the one that holds ``CUB_200_2011``. It
    may be cut to fewer classes and images, as long as its tables agree. ``part`` keeps the images
    of the official train or test half; it has nothing to do with the split of the classes.
    With ``segmentations`` every image has a mask, from the folder of that name in the root or in
    ``CUB_200_2011``: the pixels that most annotators counted as bird.

    Raises:
        FileNotFoundError: the root, one of its tables or the segmentations do not exist.
        LookupError: unknown part.
        ValueError: a line cannot be read, or the tables disagree.
    """

    def __init__(self, root: str | Path, part: str | None = None, *, segmentations: bool = False) -> None:
        folder = _official_folder(Path(root))
        files = _table(folder / "images.txt")
        class_names = _table(folder / "classes.txt")
        class_ids = _table(folder / "image_class_labels.txt")
        boxes = _table(folder / "bounding_boxes.txt")
        _check_same_images(files, {"image_class_labels.txt": class_ids, "bounding_boxes.txt": boxes}, folder)
        kept = sorted(files, key=int) if part is None else _images_of_part(folder, files, part)
        label_of = {class_id: label for label, class_id in enumerate(sorted(class_names, key=int))}
        self.name: str = "cub-200-2011" if part is None else f"cub-200-2011 {part}"
        self.classes: tuple[str, ...] = tuple(class_names[class_id] for class_id in label_of)
        self.labels: Int64[np.ndarray, "image"] = _labels([class_ids[image] for image in kept], label_of, folder)
        self.paths: tuple[Path, ...] = tuple(folder / "images" / files[image] for image in kept)
        self._boxes = [_half_open(boxes[image], folder, image) for image in kept]
        self._folder, self._image_ids = folder, kept
        self._segmentations = _segmentations(folder, Path(root)) if segmentations else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        image = read_image(path, upright=False)
        boxes = checked_boxes(torch.tensor([self._boxes[position]]), (image.height, image.width), str(path))
        mask = None if self._segmentations is None else _bird(self._segmentations, path, image)
        return LabeledImage(image, label, self.classes[label], boxes, mask, path)

    def parts(self, position: int) -> tuple[PartLocation, ...]:
        """Return the named points on one bird: beak, crown, left wing and so on, 15 in the official files.

        The tables ``parts/parts.txt`` and ``parts/part_locs.txt`` are read when parts are first asked for.

        Raises:
            FileNotFoundError: one of the tables does not exist.
            LookupError: the image has no parts.
            ValueError: a line of the tables cannot be read.
        """
        image = self._image_ids[position]
        if image not in self._parts_by_image:
            table = self._folder / "parts" / "part_locs.txt"
            raise UnknownName(f"{table} has no line of image {image} ({self.paths[position].name}); restore the file.")
        return self._parts_by_image[image]

    @cached_property
    def _parts_by_image(self) -> dict[str, tuple[PartLocation, ...]]:
        return part_locations(self._folder / "parts")


def _official_folder(root: Path) -> Path:
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise MissingFile(f"the CUB folder {root} {what}; check the path.")
    inner = root / "CUB_200_2011"
    return inner if inner.is_dir() else root


def _segmentations(folder: Path, root: Path) -> Path:
    for place in (folder / "segmentations", root / "segmentations", folder.parent / "segmentations"):
        if place.is_dir():
            return place
    raise MissingFile(f"{folder / 'segmentations'} does not exist; unpack CUB-200-2011's segmentations there.")


def _bird(segmentations: Path, path: Path, image: PIL.Image.Image) -> Bool[Tensor, "height width"]:
    where = segmentations / path.parent.name / f"{path.stem}.png"
    levels = np.asarray(decoded(where).convert("L"))
    check_same_size(levels, image, where)
    found: Tensor = tv_tensors.Mask(torch.from_numpy(levels >= MAJORITY))
    return found


def _table(path: Path) -> dict[str, str]:
    """Return the lines ``id rest`` of a file as rest by id."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist; expected CUB-200-2011's official layout.")
    rows: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, rest = line.strip().partition(" ")
        if not key.isdecimal() or not rest:
            raise Mistake(f"{path}, line {number}: expected a number and a value, got {line!r}; restore the file.")
        if key in rows:
            raise Mistake(f"{path}, line {number}: id {key} stands twice; remove one of the lines.")
        rows[key] = rest
    return rows


def _check_same_images(files: dict[str, str], tables: dict[str, dict[str, str]], folder: Path) -> None:
    for table_name, table in tables.items():
        odd = sorted(files.keys() ^ table.keys(), key=int)
        if odd:
            has, lacks = ("images.txt", table_name) if odd[0] in files else (table_name, "images.txt")
            raise Mistake(
                f"{folder}: the tables disagree: image {odd[0]} stands in {has} but not in {lacks}; "
                "cut or restore both alike."
            )


def _images_of_part(folder: Path, files: dict[str, str], part: str) -> list[str]:
    if part not in PARTS:
        raise unknown_name("part of CUB-200-2011", part, PARTS)
    is_train = _table(folder / "train_test_split.txt")
    _check_same_images(files, {"train_test_split.txt": is_train}, folder)
    wanted = "1" if part == "train" else "0"
    return [image for image in sorted(files, key=int) if is_train[image] == wanted]


def _labels(class_ids: list[str], label_of: dict[str, int], folder: Path) -> Int64[np.ndarray, "image"]:
    strange = sorted({class_id for class_id in class_ids if class_id not in label_of})
    if strange:
        raise Mistake(
            f"{folder}: image_class_labels.txt names class {strange[0]}, which classes.txt lacks; "
            "cut or restore both alike."
        )
    return np.array([label_of[class_id] for class_id in class_ids], dtype=np.int64)


def _half_open(line: str, folder: Path, image: str) -> tuple[float, float, float, float]:
    """Return ``x y width height`` as left, top, right, bottom."""
    try:
        left, top, width, height = (float(number) for number in line.split())
    except ValueError:
        raise Mistake(
            f"{folder / 'bounding_boxes.txt'}: image {image} should have x, y, width and height, "
            f"but has {line!r}; restore the file."
        ) from None
    return left, top, left + width, top + height
