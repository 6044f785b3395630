"""Masks that name the category of every pixel, as the semantic segmentation sets store them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Integer

from episodes.errors import Mistake
from episodes.labeled_image import decoded

Categories = Integer[np.ndarray, "height width"]


def palette_categories(path: Path) -> Categories:
    """Return the palette index of every pixel of a one-channel PNG (Pascal VOC).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or a color image.
    """
    levels = np.asarray(decoded(path))
    if levels.ndim != 2 or levels.dtype != np.uint8:
        raise Mistake(
            f"the mask {path} has the shape {levels.shape}; expected one channel of category numbers, "
            "as in the official PNG, not its colors."
        )
    return levels


def two_byte_categories(path: Path) -> Categories:
    """Return red + 256·green of every pixel of a color PNG (ImageNet-S).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or has no three channels.
    """
    levels = np.asarray(decoded(path))
    if levels.ndim != 3 or levels.shape[2] != 3:
        raise Mistake(
            f"the mask {path} has the shape {levels.shape}; expected three channels, "
            "the category being red + 256·green."
        )
    return levels[..., 0].astype(np.uint16) + 256 * levels[..., 1].astype(np.uint16)


def pixel_counts(categories: Categories) -> dict[int, int]:
    """Return how many pixels each category has, without those that have none, in the order of their numbers."""
    counts = np.bincount(categories.ravel())
    return {int(category): int(counts[category]) for category in np.flatnonzero(counts)}


def pixel_counts_of(paths: Sequence[Path], read: Callable[[Path], Categories]) -> list[dict[int, int]]:
    """Return the pixel counts of many masks, read on every core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda path: pixel_counts(read(path)), paths))


def check_same_size(categories: Categories, image: PIL.Image.Image, path: Path) -> None:
    """Check that a mask has the size of its image.

    Raises:
        ValueError: it has another.
    """
    height, width = categories.shape
    if (width, height) != image.size:
        raise Mistake(
            f"the mask {path} has {width}x{height} pixels, but its image has {image.width}x{image.height}; "
            "restore the two files."
        )
