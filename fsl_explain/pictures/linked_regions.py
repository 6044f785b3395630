"""A picture of a correspondence: the regions of two images that met, linked by lines."""

from textwrap import fill
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.analysis.correspondence import Correspondence, Match, correspondence
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.pictures.picture import rivals
from fsl_explain.pictures.shown_figure import empty_figure
from fsl_explain.turns import DRAWING, alone

FOR, AGAINST = "#d7301f", "#2b6cb0"
SIDE = 3.4  # inches of one photograph
BESIDE = 0.04  # shift, as a share of the query, between the names of pairs that share a region
THINNEST, BOLDEST = 0.6, 4.0  # of the lines of pairs that carry nothing, and the whole similarity
REGION = 0.28  # side of a region as a share of the map's


class Side(NamedTuple):
    """One support beside the query."""

    axes: Axes
    split: Correspondence


@alone([DRAWING])
def draw(explanation: Explanation, count: int = 3, query_title: str | None = None) -> Figure:
    """Link the strongest pairs of regions of the query and the strongest support of its class.

    A contrast also shows the strongest support of the best rival, on the other side. Red pairs speak for
    the explained class, blue ones against it; the thicker a line, the larger its share of the score. Each support has
    up to ``count`` pairs; ``query_title`` stands above the query, its decision if None.

    Raises: as ``correspondence``; ``ValueError`` where the photographs of the supports were not given.
    """
    if explanation.support_images is None:
        raise Mistake("linked regions are drawn on the supports' photographs, but only features were given.")
    shown = [int(explanation.target), *rivals(explanation)[:1]]
    figure = empty_figure(SIDE * len([*shown, None]), SIDE + 0.8)
    axes = list(figure.subplots(1, len(shown) + 1))
    order = axes if len(shown) == 1 else [axes[1], axes[2], axes[0]]
    query = order[0]
    _show(query, explanation.image, query_title or f"query, decided as\n{explanation.decision.name}")
    for place, label in zip(order[1:], shown, strict=True):
        split = correspondence(explanation, label=label)
        photograph = explanation.support_images[label, split.shot]
        _link_all(figure, query, Side(place, split), photograph, count, opposed=label != shown[0])
    target = explanation.decision.classes[int(explanation.target)]
    words = f"Regions that met. Red speaks for {target}, blue against it; thicker lines carry more."
    figure.suptitle(fill(words, 40 * len(axes)), fontsize=10, parse_math=False)
    return figure


def _link_all(figure: Figure, query: Axes, side: Side, photograph: Tensor, count: int, opposed: bool) -> None:
    split = side.split
    width = max(1, round(min(*split.shape, *split.support_shape) * REGION))
    matches, total = split.strongest_regions(count, side=width), split.weight * split.similarity
    shares = [100 * match.amount / total if total else 0.0 for match in matches]
    listed = ", ".join(f"{_name(i, opposed)}: {share:.0f} %" for i, share in enumerate(shares))
    _show(side.axes, photograph, f"{split.class_name}\ncontributes {total:+.3g}: {listed}")
    for number, (match, percent) in enumerate(zip(matches, shares, strict=True)):
        _link(figure, query, side, match, (_name(number, opposed), width, min(1.0, abs(percent) / 100)))


def _name(number: int, opposed: bool) -> str:
    return ("abcdefgh" if opposed else "12345678")[number % 8]


def _show(axes: Axes, image: Tensor, title: str) -> None:
    axes.imshow(image.clamp(0, 1).float().movedim(0, -1).numpy())
    axes.set_title("\n".join(fill(line, 52) for line in title.split("\n")), fontsize=9, parse_math=False)
    axes.set_axis_off()


def _link(figure: Figure, query: Axes, side: Side, match: Match, drawn: tuple[str, int, float]) -> None:
    name, width, share = drawn
    color, line_width = FOR if match.amount > 0 else AGAINST, THINNEST + (BOLDEST - THINNEST) * share
    left, top = _outline(query, match.query, (side.split.shape, width), (color, line_width))
    shift = BESIDE * query.images[0].get_size()[1]
    start = (left + (shift if color == FOR else -shift), top)
    end = _outline(side.axes, match.support, (side.split.support_shape, width), (color, line_width))
    line = ConnectionPatch(
        start, end, "data", "data", axesA=query, axesB=side.axes, color=color, linewidth=line_width, alpha=0.7
    )
    line.set_in_layout(False)
    figure.add_artist(line)
    for axes, center in ((query, start), (side.axes, end)):
        box = {"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": "white", "linewidth": 0.8}
        axes.annotate(
            name, center, ha="center", va="center", fontsize=8, color="white", bbox=box, zorder=10, parse_math=False
        )


def _outline(
    axes: Axes, cell: tuple[int, int], grid: tuple[tuple[int, int], int], line: tuple[str, float]
) -> tuple[float, float]:
    """Frame a region on its photograph and return its center in pixels."""
    cells, width = grid
    height, length = axes.images[0].get_array().shape[:2]  # type: ignore[union-attr]
    tall, wide = height / cells[0], length / cells[1]
    corner = (cell[1] * wide - 0.5, cell[0] * tall - 0.5)
    axes.add_patch(Rectangle(corner, width * wide, width * tall, fill=False, edgecolor=line[0], linewidth=line[1]))
    return corner[0] + width * wide / 2, corner[1] + width * tall / 2
