"""PASCAL VOC 2007 and 2012 with boxes or class masks (Everingham et al., 2010)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torchvision import tv_tensors

from episodes.annotation import checked_boxes, mask_box
from episodes.datasets.category_masks import check_same_size, palette_categories, pixel_counts_of
from episodes.datasets.xml_boxes import XmlBoxes, boxes_on_image, read_xml_boxes
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, read_image
from episodes.naming import unknown_name
from episodes.text_files import read_lines

YEARS = ("2007", "2012")
LISTS = {"boxes": "Main", "masks": "Segmentation"}
BACKGROUND, VOID = 0, 255
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The category names; a mask holds the position of its category, counted from 1."""
LONGEST_NAME = 200
"""Letters of the name of an image; no system has files of names of much more."""


class PascalVoc:
    """Photographs of 20 categories of things, each with the boxes or the mask of one of them.

    With ``annotation="boxes"`` the images are those of ``ImageSets/Main`` and the boxes those of
    ``Annotations``, difficult and truncated objects included; with ``"masks"`` the images are those of
    ``ImageSets/Segmentation``, the masks those of ``SegmentationClass``, whose void border (255) is not
    object, and the box is the mask's tight box. An image of several categories belongs to that
    whose boxes or pixels cover most (the first by name of equals), and shows the boxes or the mask of
    that one. Annotations, not images, are read when the set is opened.

    LaFAM's selection of VOC 2012 is ``annotation="masks", single_category=True`` with the 13 ``labels`` that its
    authors matched with classes of ImageNet, which left them 753 images. They do not name the 13 in
    a place known to us, so there is no default: the caller lists them.

    Args:
        root: the folder that holds ``VOCdevkit``, or ``VOC2012``, or ``ImageSets``.
        year: 2007 or 2012.
        image_set: the name of a list, such as train, val, trainval or test.
        annotation: boxes or masks.
        labels: only images of these categories, judged by them alone; None: all 20.
        single_category: keep only images whose annotation shows exactly one of the 20 categories.

    Raises:
        FileNotFoundError: a folder, the list or an annotation is missing.
        LookupError: unknown year, annotation or category.
        ValueError: a line of the list or an annotation cannot be read, or no image is left.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        year: str = "2012",
        image_set: str = "trainval",
        annotation: str = "boxes",
        labels: Sequence[str] | None = None,
        single_category: bool = False,
    ) -> None:
        self.root: Path = _official_folder(Path(root), year)
        if annotation not in LISTS:
            raise unknown_name("annotation of PASCAL VOC", annotation, LISTS)
        self.classes: tuple[str, ...] = _chosen(labels)
        stems = _stems(self.root / "ImageSets" / LISTS[annotation] / f"{image_set}.txt")
        self._masked = annotation == "masks"
        covered = _mask_cover(self.root, stems) if self._masked else _box_cover(self.root, stems)
        kept = _largest(stems, covered, self.classes, single_category)
        if not kept:
            raise Mistake(f"no image of {self.root}, list {image_set}, is left; choose more labels or another list.")
        self.name: str = f"pascal-voc-{year} {image_set} {annotation}{' single-category' if single_category else ''}"
        self.labels: Int64[np.ndarray, "image"] = np.array([self.classes.index(name) for _, name in kept], np.int64)
        self.paths: tuple[Path, ...] = tuple(self.root / "JPEGImages" / f"{stem}.jpg" for stem, _ in kept)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        image, class_name = read_image(path, upright=False), self.classes[label]
        size = (image.height, image.width)
        if not self._masked:
            xml = read_xml_boxes(self.root / "Annotations" / f"{path.stem}.xml")
            return LabeledImage(image, label, class_name, boxes=boxes_on_image(xml, {class_name}, size), path=path)
        where = self.root / "SegmentationClass" / f"{path.stem}.png"
        categories = palette_categories(where)
        check_same_size(categories, image, where)
        mask = torch.from_numpy(categories == VOC_CLASSES.index(class_name) + 1)
        boxes = checked_boxes(mask_box(mask[None]), size, str(where))
        return LabeledImage(image, label, class_name, boxes, tv_tensors.Mask(mask), path)


def _official_folder(root: Path, year: str) -> Path:
    if year not in YEARS:
        raise unknown_name("year of PASCAL VOC", year, YEARS)
    for folder in (root / "VOCdevkit" / f"VOC{year}", root / f"VOC{year}", root):
        if (folder / "ImageSets").is_dir():
            return folder
    raise MissingFile(
        f"found no ImageSets in {root}; expected PASCAL VOC's layout VOCdevkit/VOC{year}/ImageSets; check it."
    )


def _chosen(labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is None:
        return VOC_CLASSES
    for name in labels:
        if name not in VOC_CLASSES:
            raise unknown_name("category of PASCAL VOC", name, VOC_CLASSES)
    return tuple(name for name in VOC_CLASSES if name in labels)


def _stems(path: Path) -> list[str]:
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt") if "_" not in file.stem)) or "none"
        raise MissingFile(f"the list {path} does not exist; choose one that does: {known}.")
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        stem = line.strip()
        if not stem or len(stem.split()) != 1 or len(stem) > LONGEST_NAME:
            raise Mistake(
                f"{path}, line {number}: expected one image name, but got {line[:60]!r}; choose a plain list."
            )
        if line_of.setdefault(stem, number) != number:
            raise Mistake(f"{path}, line {number}: {stem} stands in line {line_of[stem]} already; remove one line.")
    return list(line_of)


def _box_cover(root: Path, stems: Sequence[str]) -> list[dict[str, float]]:
    """Return the area that each category's boxes have in each image, in square pixels."""
    return [_areas(read_xml_boxes(root / "Annotations" / f"{stem}.xml")) for stem in stems]


def _areas(xml: XmlBoxes) -> dict[str, float]:
    areas = dict.fromkeys(xml.names, 0.0)
    for name, (left, top, right, bottom) in zip(xml.names, xml.boxes, strict=True):
        if name not in VOC_CLASSES:
            raise Mistake(f"{xml.path}: {unknown_name('category of PASCAL VOC', name, VOC_CLASSES)}")
        areas[name] += (right - left) * (bottom - top)
    return areas


def _mask_cover(root: Path, stems: Sequence[str]) -> list[dict[str, float]]:
    """Return how many pixels each category has in each image."""
    paths = [root / "SegmentationClass" / f"{stem}.png" for stem in stems]
    return [
        _named(counts, path) for counts, path in zip(pixel_counts_of(paths, palette_categories), paths, strict=True)
    ]


def _named(counts: Mapping[int, int], path: Path) -> dict[str, float]:
    objects = {number: count for number, count in counts.items() if number not in (BACKGROUND, VOID)}
    strange = [number for number in objects if number > len(VOC_CLASSES)]
    if strange:
        raise Mistake(f"the mask {path} holds the value {strange[0]}; expected 0 to 20, or 255 for the void border.")
    return {VOC_CLASSES[number - 1]: float(count) for number, count in objects.items()}


def _largest(
    stems: Sequence[str], covered: Sequence[Mapping[str, float]], classes: Sequence[str], single_category: bool
) -> list[tuple[str, str]]:
    """Return the images that are kept, each with the wanted category that covers most of it."""
    kept = []
    for stem, cover in zip(stems, covered, strict=True):
        wanted = [name for name in classes if name in cover]
        if wanted and (len(cover) == 1 or not single_category):
            kept.append((stem, max(wanted, key=lambda name: cover[name])))
    return kept
