"""ImageNet's validation images (ILSVRC 2012) with their boxes (Russakovsky et al., 2015)."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Int64

from episodes.datasets.class_folders import images_by_class
from episodes.datasets.xml_boxes import boxes_on_image, read_xml_boxes
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, read_image
from episodes.text_files import read_lines, read_rows

IMAGES = ("Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "ILSVRC2012_img_val", "val")
ANNOTATIONS = ("Annotations/CLS-LOC/val", "ILSVRC/Annotations/CLS-LOC/val", "ILSVRC2012_bbox_val_v3/val", "bbox_val")
SOLUTION = "LOC_val_solution.csv"
SYNSETS = "LOC_synset_mapping.txt"
DEVKITS = ("ILSVRC2012_devkit_t12", "devkit")

Listed = list[tuple[Path, str]]


class ImageNetValidation:
    """The validation photographs with their boxes; class names are the WordNet ids (``n01440764``), sorted.

    With all 1,000 classes, labels are therefore those of the published classifiers. The class of an
    image comes from the first of these that is there: the folder it lies in
    (``val/<WordNet id>/``); ``LOC_val_solution.csv`` in the root or above it; the development kit's
    ``data/ILSVRC2012_validation_ground_truth.txt`` with its ``data/meta.mat``. The kit numbers classes
    in an order of its own, so the text cannot be read without ``meta.mat``: taken for sorted
    positions, its numbers would be wrong classes. ``LOC_synset_mapping.txt``, where it is there, gives
    the classes even if some have no image.

    An annotation is read with its image, and checked to name the image's class.

    Args:
        root: the folder that holds ``ILSVRC``, ``ILSVRC`` itself, or that of ``val``.
        images: folder of the images relative to the root; None: the first official one that exists.
        annotations: folder of the XML files relative to the root; None: likewise.

    Raises:
        FileNotFoundError: images, annotations or the classes of the images are missing.
        ValueError: a line of the tables cannot be read.
    """

    def __init__(self, root: str | Path, *, images: str | None = None, annotations: str | None = None) -> None:
        self.root: Path = Path(root)
        folder = _existing(self.root, (images,) if images else IMAGES, "images")
        self.annotations: Path = _existing(self.root, (annotations,) if annotations else ANNOTATIONS, "XML annotations")
        listed = _listed(self.root, folder)
        self.name = "imagenet-validation"
        self.classes: tuple[str, ...] = _classes(self.root, {wnid for _, wnid in listed})
        label_of = {wnid: label for label, wnid in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array([label_of[wnid] for _, wnid in listed], np.int64)
        self.paths: tuple[Path, ...] = tuple(path for path, _ in listed)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        image, class_name = read_image(path, upright=False), self.classes[label]
        xml = read_xml_boxes(self.annotations / f"{path.stem}.xml", first_pixel=0)
        if class_name not in xml.names:
            raise Mistake(
                f"{xml.path} is of {xml.names[0]}, but its image is listed as {class_name}; "
                "expected the same class. Restore the annotations and the list of classes."
            )
        boxes = boxes_on_image(xml, {class_name}, (image.height, image.width))
        return LabeledImage(image, label, class_name, boxes=boxes, path=path)


def _existing(root: Path, candidates: Iterable[str], what: str) -> Path:
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    raise MissingFile(
        f"found no {what} of ImageNet's validation set in {root}; expected the folder {', '.join(candidates)}."
    )


def _listed(root: Path, images: Path) -> Listed:
    """Return the path and the WordNet id of each image."""
    with os.scandir(images) as entries:
        in_class_folders = any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    if in_class_folders:
        return [(path, wnid) for wnid, files in images_by_class(images).items() for path in files]
    for folder in (root, root.parent):
        if (folder / SOLUTION).is_file():
            return _of_solution(folder / SOLUTION, images)
        for name in DEVKITS:
            if (folder / name).is_dir():
                return _of_devkit(folder / name / "data", images)
    raise MissingFile(
        f"the classes of the images in {images} are unknown; put {SOLUTION} or the folder {DEVKITS[0]} into {root}, "
        "or one folder per class into that of the images."
    )


def _of_solution(path: Path, images: Path) -> Listed:
    wnid_of: dict[str, str] = {}
    table = read_rows(path)
    _, header = next(table, (0, []))
    if header != ["ImageId", "PredictionString"]:
        raise Mistake(f"{path}: expected the columns ImageId and PredictionString, but got {header}; restore the file.")
    for line, row in table:
        wnids = set(row[1].split()[::5]) if len(row) == 2 else set()
        if len(wnids) != 1:
            raise Mistake(
                f"{path}, line {line}: expected an image and the boxes of one class as "
                f"'wnid xmin ymin xmax ymax', but got {row}; restore the file."
            )
        if row[0] in wnid_of:
            raise Mistake(f"{path}, line {line}: {row[0]} stands above already; remove one line.")
        wnid_of[row[0]] = wnids.pop()
    if not wnid_of:
        raise Mistake(f"{path} lists no image; restore the file.")
    return [(images / f"{name}.JPEG", wnid_of[name]) for name in sorted(wnid_of)]


def _of_devkit(data: Path, images: Path) -> Listed:
    truth = data / "ILSVRC2012_validation_ground_truth.txt"
    wnid_of = _kit_numbers(data / "meta.mat")
    if not truth.is_file():
        raise MissingFile(f"{truth} does not exist; restore the development kit.")
    listed: Listed = []
    for number, line in enumerate(read_lines(truth), start=1):
        if line.strip() not in wnid_of:
            raise Mistake(f"{truth}, line {number}: expected the number of a class of meta.mat, but got {line!r}.")
        listed.append((images / f"ILSVRC2012_val_{number:08d}.JPEG", wnid_of[line.strip()]))
    return listed


def _kit_numbers(path: Path) -> dict[str, str]:
    """Return the WordNet id by the development kit's own number of the class."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist; without it the development kit's class numbers mean nothing.")
    try:
        synsets = scipy.io.loadmat(path, squeeze_me=True)["synsets"]
        rows = zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), synsets["num_children"], strict=True)
        return {str(number): str(wnid) for number, wnid, children in rows if children == 0}
    # scipy raises nearly anything for bytes that are no MATLAB file.
    except Exception as error:
        raise Mistake(f"{path} is not the development kit's list of synsets ({error}); restore it.") from error


def _classes(root: Path, occurring: set[str]) -> tuple[str, ...]:
    for folder in (root, root.parent):
        if (folder / SYNSETS).is_file():
            lines = read_lines(folder / SYNSETS)
            known = {line.split(" ", 1)[0] for line in lines if line.strip()}
            strange = sorted(occurring - known)
            if strange:
                raise Mistake(f"{folder / SYNSETS} lacks the class {strange[0]} of an image; restore the file.")
            return tuple(sorted(known))
    return tuple(sorted(occurring))
