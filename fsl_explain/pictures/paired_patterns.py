"""A picture of a correspondence's singular parts: patterns of two images that met as wholes."""

from textwrap import fill

import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.analysis.correspondence import correspondence
from fsl_explain.explainers.contrast_weights import ClassReference
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.pictures.picture import overlay
from fsl_explain.pictures.shown_figure import empty_figure
from fsl_explain.turns import DRAWING, alone

SIDE = 2.6  # inches of one photograph


@alone([DRAWING])
def draw(
    explanation: Explanation, label: ClassReference | None = None, shot: int | None = None, count: int = 3
) -> Figure:
    """Draw the strongest singular parts of one support's correspondence, a column each: query above, support below.

    Regions of one color in both images raise the support's share of the score together; regions of opposite
    colors lower it. ``label`` and ``shot`` name the support as in ``correspondence``; there are up to ``count`` parts.

    Raises: as ``correspondence``; ``ValueError`` where the photographs of the supports were not given.
    """
    if explanation.support_images is None:
        raise Mistake("patterns are drawn on the supports' photographs, but only features were given.")
    split = correspondence(explanation, label=label, shot=shot)
    chosen = explanation.decision.classes.index(split.class_name)
    parts, total = split.parts(count), split.weight * split.similarity
    figure = empty_figure(SIDE * len(parts) + 0.2, 2 * SIDE + 1.0)
    grid = figure.subplots(2, len(parts), squeeze=False)
    for column, part in enumerate(parts):
        share = f"{100 * part.amount / total:.0f} % of {total:+.3g}" if total else f"{part.amount:+.3g}"
        _show(grid[0, column], explanation.image, part.query, f"part {column + 1}: {share}")
        _show(grid[1, column], explanation.support_images[chosen, split.shot], part.support, "")
    words = (
        f"Patterns of the query (above) that met patterns of {split.class_name} (below). "
        "Same color: they raise its share."
    )
    figure.suptitle(fill(words, 22 * len(parts) + 10), fontsize=10, parse_math=False)
    return figure


def _show(axes: Axes, image: Tensor, cells: Tensor, title: str) -> None:
    enlarged = F.interpolate(cells[None, None].float(), size=tuple(image.shape[-2:]), mode="bilinear")[0, 0]
    axes.imshow(overlay(image, enlarged, signed=True).clamp(0, 1).numpy())
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_axis_off()
