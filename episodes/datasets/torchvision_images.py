"""Any image classification data set of torchvision, wrapped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import PIL.Image
from jaxtyping import Int64

from episodes.errors import Mistake, WrongType
from episodes.labeled_image import LabeledImage, as_rgb

LABELS = ("targets", "labels", "_labels", "y")
FILES = ("samples", "imgs", "_samples", "_image_files", "_images")


@runtime_checkable
class PictureDataset(Protocol):
    """A map-style data set of (PIL image, label), without a transform."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TorchvisionImages:
    """The images of a torchvision data set, without boxes or masks; labels are taken from it without reading an image.

    The labels are its ``targets``, ``labels``, ``_labels`` or ``y``, the class names its ``classes``, the
    paths its list of files where it has one; each may be given instead.

    Args:
        dataset: a data set of (PIL image, label) that was opened without a transform.
        name: what it is called in a result.
        labels: one per image, from 0; None: as above.
        classes: one name per label; None: as above, or else the numbers.

    Raises:
        ValueError: no labels are found, or they do not fit the images or the class names.
    """

    def __init__(
        self,
        dataset: PictureDataset,
        name: str,
        *,
        labels: Sequence[int] | np.ndarray | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        found = _labels(dataset) if labels is None else np.asarray(labels)
        if found.shape != (len(dataset),) or found.dtype.kind not in "iu" or (found.size and found.min() < 0):
            raise Mistake(
                f"expected one whole number from 0 per image of {name}, {len(dataset)} in all, "
                f"but got shape {found.shape} of {found.dtype}; give labels."
            )
        count = int(found.max()) + 1 if found.size else 0
        names = getattr(dataset, "classes", None) if classes is None else classes
        self.classes: tuple[str, ...] = tuple(str(entry) for entry in (range(count) if names is None else names))
        if len(self.classes) < count:
            raise Mistake(f"{name} has labels up to {count - 1}, but {len(self.classes)} class names; give classes.")
        self.name = name
        self.labels: Int64[np.ndarray, "image"] = found.astype(np.int64)
        self.paths: tuple[Path | None, ...] = _paths(dataset)
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0.

        Raises: ``ValueError`` for a file that cannot be read; ``TypeError`` where the data set gives no PIL image.
        """
        image, label = self._dataset[position][0], int(self.labels[position])
        if not isinstance(image, PIL.Image.Image):
            raise WrongType(
                f"expected a PIL image from {self.name}, but got {type(image).__name__}; open it without a transform."
            )
        return LabeledImage(as_rgb(image), label, self.classes[label], path=self.paths[position])


def _labels(dataset: PictureDataset) -> np.ndarray:
    for attribute in LABELS:
        values = getattr(dataset, attribute, None)
        if values is not None and len(values) == len(dataset):
            return np.asarray(values)
    raise Mistake(
        f"{type(dataset).__name__} has none of {', '.join(LABELS)}; expected labels that are known "
        "without reading an image. Give them as labels."
    )


def _paths(dataset: PictureDataset) -> tuple[Path | None, ...]:
    for attribute in FILES:
        files = getattr(dataset, attribute, None)
        if files is not None and len(files) == len(dataset):
            first = [file[0] if isinstance(file, tuple) else file for file in files]
            if all(isinstance(file, str | Path) for file in first):
                return tuple(Path(file) for file in first)
    return (None,) * len(dataset)
