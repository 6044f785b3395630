"""A grid of maps as one picture: a column for each image, a row for each model."""

from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fsl_explain.evaluation.map_grid import MapGrid, ShownMap
from fsl_explain.files import make_folder
from fsl_explain.pictures.picture import overlay
from fsl_explain.report.picture_endings import check_ending
from fsl_explain.turns import DRAWING, alone

CELL = 1.5  # inches
MARGIN = 1.4  # inches, for the titles of the rows
LONGEST = 24  # letters of a class name over a column


@alone([DRAWING])
def draw_grid(grid: MapGrid) -> Figure:
    """Draw a grid of maps, as ``fsl_explain.evaluation.map_grid.map_grid`` makes it.

    The images stand in the first row, a column each under its true class, and below them each model's maps, red for
    and blue against where they have a sign. Annotated boxes are white. A map of another class than the true one has
    that class written below it.
    """
    columns, rows = len(grid.truths), len(grid.rows) + 1
    figure = Figure(figsize=(MARGIN + CELL * columns, 0.3 + CELL * rows), layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.subplots(rows, columns, squeeze=False)
    for column, truth in enumerate(grid.truths):
        shown = grid.rows[0][column]
        _show(cells[0, column], shown.image.movedim(0, -1), shown.box)
        cells[0, column].set_title(_short(truth), fontsize=8, parse_math=False)
    for row, (title, maps) in enumerate(zip(grid.titles, grid.rows, strict=True), start=1):
        for column, shown in enumerate(maps):
            _show(cells[row, column], overlay(shown.image, shown.saliency, grid.signed), shown.box)
            _say_what_is_explained(cells[row, column], shown, grid.truths[column])
        cells[row, 0].set_ylabel(title.replace(", ", ",\n"), fontsize=8, parse_math=False)
    return figure


def write_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, PDF or SVG, as the ending of the path says, making its folder if need be.

    PNG has 150 dots an inch.

    Raises: ``ValueError`` for another ending, or a path that lies in something that is no folder.
    """
    path = Path(path)
    check_ending(path)
    make_folder(path.parent)
    with alone([DRAWING]):
        figure.savefig(path, dpi=150)


def _show(axes: Axes, picture: Float[Tensor, "height width 3"], box: Float[Tensor, "4"]) -> None:
    axes.imshow(picture.clamp(0, 1).numpy())
    axes.set_xticks([])
    axes.set_yticks([])
    if bool(torch.isfinite(box).all()):
        left, top, right, bottom = box.tolist()
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=1))


def _say_what_is_explained(axes: Axes, shown: ShownMap, truth: str) -> None:
    if shown.explained != truth:
        axes.set_xlabel(_short(shown.explained), fontsize=7, parse_math=False)


def _short(name: str) -> str:
    readable = name.replace("_", " ")
    return readable if len(readable) <= LONGEST else readable[: LONGEST - 1] + "…"
