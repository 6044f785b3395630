"""A query that is a part of an image: the region that a user drew."""

from collections.abc import Sequence

import PIL.Image

from episodes.box_formats import Box, edges_in_pixels, looks_relative, whole_pixels
from episodes.errors import Mistake

EDGES = "xyxy"


def region_edges(image: PIL.Image.Image, box: Box, box_format: str = EDGES) -> Box:
    """Return left, top, right and bottom of a box in pixels of an image, from its format as ``CsvBoxes`` has it.

    Raises: ``LookupError`` for an unknown format; ``ValueError`` for a box that looks like one of another format.
    """
    if box_format == EDGES:
        return box  # of which cut_region says more
    return edges_in_pixels(box, box_format, (image.height, image.width), "--box")


def cut_region(image: PIL.Image.Image, box: Sequence[int | float]) -> PIL.Image.Image:
    """Return the part of an image inside a box x1 y1 x2 y2 in its pixels, whole pixels that the box touches.

    Raises: ``ValueError`` for a box that is empty or leaves the image.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise Mistake(
            f"expected a box x1 y1 x2 y2 with x1 < x2 and y1 < y2 inside the image of {image.width}×{image.height} "
            f"pixels, but got {left:g} {top:g} {right:g} {bottom:g}{_looks_like(image, box)}."
        )
    if looks_relative(box):
        raise Mistake(
            f"expected a box x1 y1 x2 y2 in pixels of the image of {image.width}×{image.height}, but "
            f"{left:g} {top:g} {right:g} {bottom:g} looks relative to its size; give --box-format relative-xyxy, "
            "or multiply it by width and height."
        )
    return image.crop(whole_pixels(box))


def _looks_like(image: PIL.Image.Image, box: Sequence[int | float]) -> str:
    """Say so where the numbers would be a box as x y width height."""
    left, top, width, height = box
    if min(box) >= 0 and 0 < width <= image.width - left and 0 < height <= image.height - top:
        right, bottom = left + width, top + height
        return (
            f", which looks like x y width height; that would be {left:g} {top:g} {right:g} {bottom:g}, "
            "or --box-format xywh"
        )
    return ""
