"""A query that is a part of an image: the region that a user drew."""

from collections.abc import Sequence

import PIL.Image

from episodes.errors import Mistake


def cut_region(image: PIL.Image.Image, box: Sequence[int | float]) -> PIL.Image.Image:
    """Return the part of an image inside a box x1 y1 x2 y2 in its pixels, whole pixels that the box touches.

    Raises: ``ValueError`` for a box that is empty or leaves the image.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise Mistake(
            f"expected a box x1 y1 x2 y2 with x1 < x2 and y1 < y2 inside the image of {image.width}×{image.height} "
            f"pixels, but got {left:g} {top:g} {right:g} {bottom:g}."
        )
    return image.crop((int(left), int(top), -int(-right // 1), -int(-bottom // 1)))
