"""Reference mosaics: four photographs of four classes in one image, and a reference of one of them."""

from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.transforms import v2

from episodes import LabeledImage, LabeledImages, box_mask, prepare
from episodes.errors import Mistake
from episodes.naming import unknown_name

TILES = 4
"""Tiles of a mosaic, in reading order: upper left, upper right, lower left, lower right."""

CROPS = ("box", "image")

Box = tuple[float, float, float, float]

_AS_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


@dataclass(frozen=True)
class MosaicSizes:
    """How many mosaics are drawn, from which images, and what a tile shows.

    ``crop`` is ``box``, the annotated box grown to a square, or ``image``, all of it. ``side`` is that of a mosaic in
    pixels; None: of the encoder's images, so that tiles have half. ``fit_share`` of each class is kept for heads.

    Raises: ``ValueError`` or ``LookupError`` for a value that does not fit.
    """

    count: int = 500
    seed: int = 0
    crop: str = "box"
    side: int | None = None
    fit_share: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise Mistake(
                f"expected a count of at least 1 mosaic and a seed of at least 0, but got {self.count} and {self.seed}."
            )
        if self.crop not in CROPS:
            raise unknown_name("crop", self.crop, CROPS)
        if self.side is not None and self.side < 2:
            raise Mistake(f"expected a side of at least 2 pixels, but got {self.side}; None is the encoder's own.")
        if not 0 < self.fit_share < 1:
            raise Mistake(f"expected a fit_share between 0 and 1, but got {self.fit_share:g}; 0.5 is usual.")


@dataclass(frozen=True)
class Mosaic:
    """Which images make a mosaic and its references; every array follows the order of the tiles."""

    classes: Int64[np.ndarray, "tile"]
    tiles: Int64[np.ndarray, "tile"]  # data set index of each tile's image
    references: Int64[np.ndarray, "tile"]  # data set index of another image of each tile's class
    target: int  # the tile whose class is explained
    other: int  # the tile whose class is the second reference


@dataclass(frozen=True)
class Parts:
    """Two lists of data set indices without a common image."""

    fitting: Int64[np.ndarray, "fitting"]
    mosaics: Int64[np.ndarray, "mosaics"]


def split_images(dataset: LabeledImages, fit_share: float, seed: int) -> Parts:
    """Split the images of every class into those that heads are fitted on and those that mosaics are made of.

    Each class is shuffled on its own; ``fit_share`` of it, rounded, goes to the heads, but never more than leaves a
    tile and a reference for the mosaics.

    Raises: ``ValueError`` for fewer than four classes, or a class of fewer than three images.
    """
    labels = dataset.labels
    present = np.unique(labels)
    if len(present) < TILES:
        raise Mistake(f"a mosaic needs {TILES} classes, but {dataset.name} has {len(present)}; use more classes.")
    fitting, mosaics = [], []
    for label in present.tolist():
        images = np.random.default_rng((seed, label)).permutation(np.flatnonzero(labels == label))
        if len(images) < 3:
            raise Mistake(
                "every class needs 3 images (one for the heads, a tile and a reference), but class "
                f"{dataset.classes[label]} has {len(images)}; drop the class."
            )
        count = min(max(1, round(fit_share * len(images))), len(images) - 2)
        fitting.append(images[:count])
        mosaics.append(images[count:])
    return Parts(np.sort(np.concatenate(fitting)), np.sort(np.concatenate(mosaics)))


def draw_mosaic(
    labels: Int64[np.ndarray, "image"], usable: Int64[np.ndarray, "usable"], seed: int, number: int
) -> Mosaic:
    """Draw mosaic ``number``: it depends on (labels, usable images, seed, number) alone.

    Four classes in random order, a tile and another image as reference of each, the target, and a second class.
    """
    rng = np.random.default_rng((seed, number))
    classes = rng.choice(np.unique(labels[usable]), size=TILES, replace=False)
    drawn = np.stack([rng.choice(usable[labels[usable] == label], size=2, replace=False) for label in classes])
    target, other = rng.choice(TILES, size=2, replace=False).tolist()
    return Mosaic(classes, drawn[:, 0], drawn[:, 1], target, other)


def square_around(box: Box, width: int, height: int) -> Box:
    """Grow a box to the square of its longer side around its center, shifted to lie inside the image.

    Where the image is narrower than the square, the square is clipped to it. Left, top, right, bottom in pixels.
    """
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    (left, right), (top, bottom) = _grown(left, right, side, width), _grown(top, bottom, side, height)
    return left, top, right, bottom


def crop_area(labeled: LabeledImage, crop: str) -> Box:
    """Return what of an image is used: the square around its object (``box``) or all of it (``image``).

    An image without an annotation is used whole.
    """
    box = prepare(labeled, _AS_TENSOR).target_box if crop == "box" else None
    width, height = labeled.image.size
    if box is None:
        return 0.0, 0.0, float(width), float(height)
    left, top, right, bottom = box.tolist()
    return square_around((left, top, right, bottom), width, height)


def cut(image: PIL.Image.Image, area: Box, side: int) -> PIL.Image.Image:
    """Return an area of an image at ``side`` × ``side`` pixels, whatever its aspect ratio."""
    return image.resize((side, side), PIL.Image.Resampling.BILINEAR, box=area)


def paste(tiles: list[PIL.Image.Image]) -> PIL.Image.Image:
    """Put four square tiles of one size together, in reading order."""
    side = tiles[0].width
    mosaic = PIL.Image.new("RGB", (2 * side, 2 * side))
    for position, tile in enumerate(tiles):
        mosaic.paste(tile, (position % 2 * side, position // 2 * side))
    return mosaic


def tile_boxes(height: int, width: int) -> Float[Tensor, "tile 4"]:
    """Return the box of each tile of an image of that size: left, top, right, bottom in pixels."""
    corners = [(position % 2 * width / 2, position // 2 * height / 2) for position in range(TILES)]
    return torch.tensor([(left, top, left + width / 2, top + height / 2) for left, top in corners])


def tile_masks(height: int, width: int) -> Bool[Tensor, "tile height width"]:
    """Return the pixels of each tile; together they are the whole image, and none is in two."""
    return box_mask(tile_boxes(height, width), height, width)


def _grown(low: float, high: float, side: float, limit: int) -> tuple[float, float]:
    side = min(side, float(limit))
    start = min(max((low + high - side) / 2, 0.0), limit - side)
    return start, start + side
