"""Maps side by side: a row for each image, a column for each method."""

from collections.abc import Sequence
from dataclasses import dataclass

from fsl_explain.pictures.picture import overlay
from fsl_explain.report.annotated_box import BoxView, box_view
from fsl_explain.report.heatmap import Picture, gradient, picture
from fsl_explain.report.page import MapRow

CELL_WIDTH = 132  # CSS pixels
ENDS = {True: ("speaks against", "speaks for"), False: ("least", "most")}
"""What the colors of a map with a sign mean, and of one without."""


@dataclass(frozen=True)
class RowView:
    """One image and its maps; None where a method has none of it."""

    title: str
    image: Picture
    box: BoxView | None
    maps: tuple[Picture | None, ...]


@dataclass(frozen=True)
class RowsView:
    """The rows, the methods over their columns, and the color scales of maps with and without a sign."""

    methods: tuple[str, ...]
    rows: tuple[RowView, ...]
    scales: tuple[tuple[str, str, str], ...]  # a gradient, and what its ends mean


def rows_view(rows: Sequence[MapRow]) -> RowsView | None:
    """Prepare rows of maps, the methods in the order in which they come first; None for no rows."""
    if not rows:
        return None
    methods = tuple(dict.fromkeys(name for row in rows for name in row.maps))
    kinds = {name in row.signed for row in rows for name in row.maps}
    return RowsView(
        methods=methods,
        rows=tuple(_row_view(row, methods) for row in rows),
        scales=tuple((gradient(signed), *ENDS[signed]) for signed in (True, False) if signed in kinds),
    )


def _row_view(row: MapRow, methods: Sequence[str]) -> RowView:
    height, width = row.image.shape[-2:]
    return RowView(
        title=row.title,
        image=picture(row.image.float().movedim(0, -1), f"the image of {row.title}", CELL_WIDTH),
        box=box_view(row.box, height, width),
        maps=tuple(_map(row, name) if name in row.maps else None for name in methods),
    )


def _map(row: MapRow, name: str) -> Picture:
    laid = overlay(row.image, row.maps[name].float(), name in row.signed)
    return picture(laid, f"map of {name} over {row.title}", CELL_WIDTH)
