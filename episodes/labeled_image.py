"""One image with its label and what is known of where the object lies, and how image files are read."""

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from episodes.decoding import PIXEL_LIMIT, decoded
from episodes.errors import Mistake
from episodes.found_images import find_images
from episodes.pixels import EXIF_ORIENTATION, as_rgb

__all__ = [
    "EXIF_ORIENTATION",
    "PIXEL_LIMIT",
    "LabeledImage",
    "LabeledImages",
    "as_rgb",
    "decoded",
    "find_images",
    "read_image",
]


@dataclass(frozen=True)
class LabeledImage:
    """An RGB image, its class, and boxes or a mask of the object where the data set has them.

    ``label`` is the class, an index into the data set's classes, ``class_name`` its name. ``boxes`` are (n, 4),
    float32, left-top-right-bottom in pixels, half-open, as torchvision's ``BoundingBoxes``; ``mask`` is (height,
    width), bool, True on the object, as its ``Mask``. Each is None where the data set has none. ``path`` is None for an
    image that has no file.
    """

    image: PIL.Image.Image
    label: int
    class_name: str
    boxes: Float[Tensor, "box 4"] | None = None
    mask: Bool[Tensor, "height width"] | None = None
    path: Path | None = None


@runtime_checkable
class LabeledImages(Sized, Protocol):
    """A data set whose labels are known without reading an image.

    Law: ``labels[i]`` is the label of ``self[i]``, ``classes[labels[i]]`` its class name, and
    ``paths[i]`` its path.
    """

    @property
    def name(self) -> str:
        """What the data set is called in a result."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their labels."""

    @property
    def labels(self) -> Int64[np.ndarray, "image"]:
        """Return one index into ``classes`` per image."""

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """One path per image; None for an image that has no file."""

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0."""
        ...


def read_image(path: str | Path, *, upright: bool = True) -> PIL.Image.Image:
    """Return an image file as an upright RGB image of 8 bits, by way of ``as_rgb``.

    Read are PNG, JPEG, WebP, BMP, GIF, TIFF, PNM, AVIF and JPEG 2000, whatever the file is called; of several frames
    the first one is taken, which a warning says. The EXIF orientation is applied unless ``upright`` is False, as boxes
    and masks want it that count the stored pixels; transparency is laid on white, gray and palette and CMYK are
    converted, and 16-bit gray is scaled (not clipped) to 8 bits. Color profiles are not applied.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe or a device, empty, truncated, damaged, of another format, or has more
            pixels than ``PIXEL_LIMIT`` or a longer side than 65,535.
    """
    image = decoded(path)
    try:
        return as_rgb(image, upright=upright)
    except Mistake as error:
        raise Mistake(f"the image {path}: {error}") from error
