"""A split of Hugging Face's ``datasets``, wrapped; the library itself is not imported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import PIL.Image
import torch
from jaxtyping import Int64
from torchvision import tv_tensors

from episodes.annotation import checked_boxes
from episodes.box_formats import check_format, edges_in_pixels
from episodes.errors import Mistake, WrongType
from episodes.labeled_image import LabeledImage, as_rgb
from episodes.naming import unknown_name

IMAGE, UNLABELED, READ_AT_ONCE = "PIL.Image.Image", -1, 1000


@runtime_checkable
class Split(Protocol):
    """What is read of a ``datasets.Dataset``."""

    features: Any

    def __len__(self) -> int: ...

    def __getitem__(self, position: Any, /) -> Any: ...

    def with_format(self, kind: str | None) -> Any:
        """Return the same rows as another kind of values, and without a transform."""

    def select_columns(self, names: Any) -> Any:
        """Return the same rows with some of their columns."""


class _Labels(NamedTuple):
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, "image"]


class HuggingFaceImages:
    """The images of one split of a Hugging Face data set; labels are read without decoding an image.

    A format or transform that was set is left out here: images come as they are stored, and the encoder's own
    preprocessing is what a network sees. ``paths`` are those of images that lie in files of their own.

    Args:
        dataset: a ``datasets.Dataset``, one split of what ``load_dataset`` or ``load_from_disk`` returns.
        name: what it is called in a result.
        image: the column of images.
        label: the column of classes: a ``ClassLabel``, whole numbers from 0, or texts, whose classes are then sorted
            by name; -1 and no text mean no label. None: no image has a label.
        boxes: the column of a list of boxes for each image; ``objects.bbox`` is the list ``bbox`` in ``objects``.
        box_format: what the four numbers of a box are, as in ``CsvBoxes``; COCO's is ``xywh``.

    Raises:
        TypeError: it is no single split that can be indexed.
        LookupError: there is no such column or box format.
        ValueError: a column holds something else than said here.
    """

    def __init__(
        self,
        dataset: Split,
        name: str,
        *,
        image: str = "image",
        label: str | None = "label",
        boxes: str | None = None,
        box_format: str = "xyxy",
    ) -> None:
        _expect_one_split(dataset, name)
        check_format(box_format)
        self.name: str = name
        self._image, self._boxes, self._format = image, boxes, box_format
        _expect_images(dataset, name, image)
        found = _Labels((), np.full(len(dataset), UNLABELED)) if label is None else _labels(dataset, name, label)
        self.classes: tuple[str, ...] = found.classes
        self.labels: Int64[np.ndarray, "image"] = found.labels
        self.paths: tuple[Path | None, ...] = tuple(_paths(dataset, image))
        if boxes is not None:
            _expect_column(dataset, name, boxes.split(".")[0])
        kept = [image] if boxes is None else [image, boxes.split(".")[0]]
        self._rows = dataset.select_columns(kept).with_format(None)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for one that cannot be read."""
        where = f"image {position} of {self.name}"
        try:
            row = self._rows[position]
            image = as_rgb(row[self._image])
        except (OSError, ValueError) as error:
            raise Mistake(f"{where} cannot be read ({error}); drop it with select, or store it again.") from error
        label = int(self.labels[position])
        class_name = self.classes[label] if label >= 0 else ""
        return LabeledImage(
            image, label, class_name, boxes=self._boxes_of(row, image, where), path=self.paths[position]
        )

    def _boxes_of(self, row: Any, image: PIL.Image.Image, where: str) -> tv_tensors.BoundingBoxes | None:
        if self._boxes is None:
            return None
        value: Any = row
        for part in self._boxes.split("."):
            value = _part(value, part, where)
        size = (image.height, image.width)
        edges = [edges_in_pixels(_four_numbers(box, where), self._format, size, where) for box in value]
        return checked_boxes(torch.tensor(edges, dtype=torch.float32).reshape(-1, 4), size, where)


def _expect_one_split(dataset: Any, name: str) -> None:
    if isinstance(dataset, dict):
        splits = ", ".join(map(str, dataset))
        raise WrongType(f"expected one split of {name}, but got all of them ({splits}); choose one, as in dataset[…].")
    if not isinstance(dataset, Split):
        raise WrongType(
            f"expected a datasets.Dataset for {name}, but got {type(dataset).__name__}; "
            "load a split without streaming, so that it has a length and can be indexed."
        )


def _expect_column(dataset: Split, name: str, column: str) -> None:
    if column not in dataset.features:
        raise unknown_name(f"column of {name}", column, tuple(dataset.features))


def _expect_images(dataset: Split, name: str, image: str) -> None:
    _expect_column(dataset, name, image)
    feature = dataset.features[image]
    if getattr(feature, "dtype", "") != IMAGE or not getattr(feature, "decode", False):
        raise Mistake(
            f"expected decoded images in the column {image} of {name}, but it holds {feature}; "
            f'cast it with dataset.cast_column("{image}", datasets.Image()).'
        )


def _labels(dataset: Split, name: str, label: str) -> _Labels:
    _expect_column(dataset, name, label)
    values = np.asarray(dataset.select_columns([label]).with_format("numpy")[:][label])
    names = getattr(dataset.features[label], "names", None)
    if values.dtype.kind in "OU" and all(value is None or isinstance(value, str) for value in values.tolist()):
        return _of_texts(values.tolist())
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values < UNLABELED).any():
        raise Mistake(
            f"expected one class for each image in the column {label} of {name}, but it holds "
            f"{dataset.features[label]}; name another column, or give label=None."
        )
    count = int(values.max()) + 1 if values.size else 0
    classes = tuple(str(entry) for entry in (range(count) if names is None else names))
    return _Labels(classes, values.astype(np.int64))


def _of_texts(values: list[str | None]) -> _Labels:
    classes = tuple(sorted({value for value in values if value}))
    number_of = {value: number for number, value in enumerate(classes)}
    return _Labels(classes, np.array([number_of.get(value or "", UNLABELED) for value in values], dtype=np.int64))


def _paths(dataset: Split, image: str) -> Iterator[Path | None]:
    """Yield the file of every image; None where its bytes lie in the data set itself."""
    stored = dataset.select_columns([image]).with_format("arrow")
    for start in range(0, len(dataset), READ_AT_ONCE):
        column = stored[start : start + READ_AT_ONCE][image].combine_chunks()
        inside = column.field("bytes").is_valid().to_pylist()
        for path, is_inside in zip(column.field("path").to_pylist(), inside, strict=True):
            file = None if is_inside or path is None else Path(path)
            yield file if file is not None and file.is_file() else None


def _part(value: Any, part: str, where: str) -> Any:
    if not isinstance(value, dict) or part not in value:
        raise Mistake(f"{where}: expected boxes in {part}, but there is no such entry; name the column of the boxes.")
    return value[part]


def _four_numbers(box: Any, where: str) -> tuple[float, float, float, float]:
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise Mistake(f"{where}: expected four numbers for a box, but got {box!r:.100}; name the column of the boxes.")
    first, second, third, fourth = (float(edge) for edge in box)
    return first, second, third, fourth
