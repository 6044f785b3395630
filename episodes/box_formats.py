"""How four numbers say a box: edges, or a corner or center with width and height, in pixels or relative ones."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from episodes.errors import Mistake
from episodes.naming import unknown_name
from episodes.text_files import read_rows

BoxFormat = Literal["xyxy", "xywh", "cxcywh", "relative-xyxy", "relative-xywh", "relative-cxcywh"]
EDGES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = {
    "xyxy": EDGES,
    "xywh": ("x", "y", "width", "height"),
    "cxcywh": ("cx", "cy", "width", "height"),
}
RELATIVE = "relative-"
DIGITS = 6  # of a pixel: what is beyond is rounding
FORMATS = (*COLUMNS, *(RELATIVE + name for name in COLUMNS))

Box = tuple[float, float, float, float]


def check_format(box_format: str) -> None:
    """Refuse an unknown format of boxes. Raises: ``LookupError`` with the nearest."""
    if box_format not in FORMATS:
        raise unknown_name("format of boxes", box_format, FORMATS)


def box_columns(table: Path, box_format: str) -> Sequence[str]:
    """Return the columns of a box in a CSV table: those of its format where all are there, else the four edges'."""
    own = COLUMNS[box_format.removeprefix(RELATIVE)]
    _, names = next(read_rows(table), (0, []))
    return own if set(own) <= set(names) else EDGES


def edges_of(box: Box, box_format: str, size: tuple[int, int] | None = None) -> Box:
    """Return left, top, right and bottom of a box, relative ones in pixels where ``size`` (height, width) is given."""
    kind = box_format.removeprefix(RELATIVE)
    first, second, third, fourth = box
    if kind == "cxcywh":
        first, second = first - third / 2, second - fourth / 2
    if kind != "xyxy":
        third, fourth = first + third, second + fourth
    if size is None or not box_format.startswith(RELATIVE):
        return first, second, third, fourth
    return first * size[1], second * size[0], third * size[1], fourth * size[0]


def edges_in_pixels(box: Box, box_format: str, size: tuple[int, int], where: str) -> Box:
    """Return left, top, right and bottom in pixels of an image of ``size`` (height, width), checked as plausible.

    Relative edges that leave the image by rounding end at its own.

    Raises: ``LookupError`` for an unknown format; ``ValueError`` for numbers that look like those of another one.
    """
    check_format(box_format)
    check_plausible(box, box_format, where)
    left, top, right, bottom = (round(edge, DIGITS) for edge in edges_of(box, box_format, size))
    if box_format.startswith(RELATIVE):
        return left, top, min(right, size[1]), min(bottom, size[0])
    return left, top, right, bottom


def check_plausible(box: Box, box_format: str, where: str) -> None:
    """Refuse numbers that look like those of another format. ``where`` is what the error names.

    Raises: ``ValueError`` that names the format they look like.
    """
    shown = ", ".join(f"{edge:g}" for edge in box)
    if box_format.startswith(RELATIVE):
        if max(edges_of(box, box_format)) > 1.01:
            kind = box_format.removeprefix(RELATIVE)
            raise Mistake(f"{where}: the box ({shown}) should be relative, up to 1; for pixels give box_format={kind}.")
        return
    if looks_relative(box):
        raise Mistake(
            f"{where}: expected a box in pixels, but ({shown}) looks relative to the size of the image; "
            f"give box_format={RELATIVE}{box_format}, or correct it."
        )
    if box_format == "xyxy" and (box[2] < box[0] or box[3] < box[1]) and min(box[2:]) > 0:
        raise Mistake(
            f"{where}: expected the edges left, top, right, bottom, but ({shown}) is inverted and looks like a corner "
            "with width and height; give box_format=xywh, or correct it."
        )


def looks_relative(box: Sequence[int | float]) -> bool:
    """Return whether no number of a box is above 1 and one is a fraction."""
    return all(0 <= edge <= 1 for edge in box) and any(0 < edge < 1 for edge in box)


def whole_pixels(box: Sequence[int | float]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the whole pixels that a box x1 y1 x2 y2 touches."""
    left, top, right, bottom = box
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
