"""Pictures of explanations: colors of maps, overlays, and one figure per query.

Signed maps are red where positive and blue where negative, on one symmetric scale; unsigned maps run from dark (0)
to bright (1). Nothing here touches matplotlib's global state but its fonts and caches, which one thread uses at a time.
"""

from functools import lru_cache
from textwrap import fill

import matplotlib as mpl
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.pictures.shown_figure import empty_figure
from fsl_explain.turns import DRAWING, alone

COLORS = 257  # odd, so that zero has the neutral color of its own
OPACITY = 0.75  # of the strongest color: the photograph shows through everywhere
DRAWN_RIVALS = 3
PER_ROW = 5
STRONG = 0.7  # place of an overlay's red and blue on the color scale; the ends are too dark to be seen on photographs


def colorize(
    saliency: Float[Tensor, "height width"], signed: bool, limit: float | None = None
) -> Float[Tensor, "height width 3"]:
    """Return the RGB colors, in [0, 1], of a map.

    An unsigned map is expected in [0, 1]. The scale of a signed one reaches from ``-limit`` to ``limit``, its
    largest absolute value if None; zero is light gray. NaN is drawn as zero.
    """
    position = _position(saliency, signed, limit)
    index = ((position + 1) / 2 if signed else position) * (COLORS - 1)
    return _colors(signed)[index.round().long()]


def overlay(
    image: Float[Tensor, "3 height width"],
    saliency: Float[Tensor, "height width"],
    signed: bool,
    limit: float | None = None,
) -> Float[Tensor, "height width 3"]:
    """Lay a map over its photograph in [0, 1]: the more opaque the larger its absolute value; zero leaves that alone.

    Colors, ``limit`` and NaN are as in ``colorize``; so is the range of what comes back.
    """
    position = _position(saliency, signed, limit)
    colors = colorize(STRONG * position.sign() if signed else position, signed, limit=1.0)
    opacity = (OPACITY * position.abs().pow(0.7) if signed else OPACITY * position)[..., None]
    return opacity * colors + (1 - opacity) * image.float().movedim(0, -1)


def support_overlay(explanation: Explanation, label: int, shot: int) -> Float[Tensor, "height width 3"]:
    """Draw one support with its side of the decision: over its photograph, or plain where only features were given.

    The supports of a class share one scale if signed; otherwise each map is rescaled to [0, 1].
    A support without a say in the score is its photograph alone.
    """
    cells = explanation.support_cells[label, shot]
    images = explanation.support_images
    height, width = explanation.image.shape[-2:] if images is None else images.shape[-2:]
    enlarged = F.interpolate(cells[None, None].float(), size=(height, width), mode="bilinear")[0, 0]
    limit = float(explanation.support_cells[label].nan_to_num().abs().max())
    if not explanation.signed:
        enlarged = _rescaled(enlarged) if has_say(explanation, label, shot) else torch.zeros_like(enlarged)
    if images is None:
        return colorize(enlarged, explanation.signed, limit)
    return overlay(images[label, shot], enlarged, explanation.signed, limit)


def has_say(explanation: Explanation, label: int, shot: int) -> bool:
    """Tell whether a support took part in the explained score."""
    return bool((explanation.support_cells[label, shot].nan_to_num() != 0).any())


def shots(explanation: Explanation, label: int) -> list[int]:
    """Return which supports of a class are real; the others are padding."""
    real = ~explanation.support_cells[label].isnan().flatten(start_dim=1).all(dim=1)
    return [int(shot) for shot in real.nonzero()[:, 0]]


def rivals(explanation: Explanation) -> list[int]:
    """Return the classes that a contrast subtracts, best score first; none if it is not a contrast."""
    if explanation.against is None:
        return []
    chosen = [int(label) for label in explanation.against.nonzero()[:, 0]]
    return sorted(chosen, key=lambda label: -float(explanation.decision.scores[label]))


def named_rivals(explanation: Explanation) -> str:
    """Name what the target is contrasted with, in words."""
    names = [explanation.decision.classes[label] for label in rivals(explanation)]
    return names[0] if len(names) == 1 else f"the mean of {len(names)} other classes"


def color_meanings(explanation: Explanation) -> tuple[str, str]:
    """Say what the low end (blue, or dark) and the high end (red, or bright) of the colors mean."""
    target = explanation.decision.classes[int(explanation.target)]
    if not explanation.signed:
        return "low", "high"
    if explanation.against is None:
        return f"against {target}", f"for {target}"
    return f"for {named_rivals(explanation)}", f"for {target}"


@alone([DRAWING])
def draw(explanation: Explanation) -> Figure:
    """Draw a query, its map, and the supports of the explained class and, for a contrast, of its best rivals.

    Raises: ``ValueError`` for the explanation of a batch.
    """
    if explanation.score.dim() != 0:
        raise Mistake(
            f"expected the explanation of one query, but got that of a batch of {len(explanation.score)}; "
            "index it, as in explanation[0].plot()."
        )
    drawn = _drawn_supports(explanation)
    columns = min(max(3, len(drawn)), PER_ROW)
    rows = 1 + -(-len(drawn) // columns)
    figure = empty_figure(2.5 * columns, 2.75 * rows + 0.5)
    grid = figure.add_gridspec(rows, columns)
    _draw_query([figure.add_subplot(grid[0, column]) for column in range(3)], explanation)
    for number, (label, shot) in enumerate(drawn, start=columns):
        title = f"{explanation.decision.classes[label]}, support {shot + 1}"
        _show(figure.add_subplot(grid[divmod(number, columns)]), support_overlay(explanation, label, shot), title)
    figure.suptitle(_headline(explanation), parse_math=False)
    return figure


def _drawn_supports(explanation: Explanation) -> list[tuple[int, int]]:
    labels = [int(explanation.target), *rivals(explanation)[:DRAWN_RIVALS]]
    return [(label, shot) for label in labels for shot in shots(explanation, label)]


def _headline(explanation: Explanation) -> str:
    target = explanation.decision.classes[int(explanation.target)]
    question = f"{target}: {float(explanation.score):.4g} ({explanation.method})"
    if explanation.against is not None:
        question = f"{target} rather than {named_rivals(explanation)}: {float(explanation.score):+.4g}"
    left_out = len(rivals(explanation)) - DRAWN_RIVALS
    more = f" ({DRAWN_RIVALS} of them drawn)" if left_out > 0 else ""
    return fill(f"Decided: {explanation.decision.name}. {question}{more}", 90)


def _draw_query(axes: list[Axes], explanation: Explanation) -> None:
    saliency, signed = explanation.saliency, explanation.signed
    low, high = color_meanings(explanation)
    _show(axes[0], explanation.image.float().movedim(0, -1), "query")
    _show(axes[1], overlay(explanation.image, saliency, signed), f"query with its {explanation.method} map")
    _show(axes[2], colorize(saliency, signed), "map")
    limit = float(saliency.nan_to_num().abs().max()) if signed else 1.0
    scale = ScalarMappable(Normalize(-limit if signed else 0.0, limit), _colormap(signed))
    bar = axes[2].figure.colorbar(scale, ax=axes, location="bottom", aspect=50, pad=0.02)
    bar.set_ticks([-limit, limit] if signed else [0.0, 1.0])
    labels = bar.ax.set_xticklabels([fill(low, 42), fill(high, 42)], parse_math=False, fontsize=9)
    labels[0].set_horizontalalignment("left")
    labels[1].set_horizontalalignment("right")


def _show(axes: Axes, picture: Float[Tensor, "height width 3"], title: str) -> None:
    axes.imshow(picture.clamp(0, 1).numpy())
    axes.set_title(fill(title, 30), fontsize=9, parse_math=False)
    axes.set_axis_off()


def _position(saliency: Float[Tensor, "height width"], signed: bool, limit: float | None) -> Tensor:
    """Place values on the color scale: [-1, 1] if signed, [0, 1] otherwise."""
    values = saliency.nan_to_num().float()
    if not signed:
        return values.clamp(0, 1)
    largest = float(values.abs().max()) if limit is None else limit
    return (values / largest if largest > 0 else values).clamp(-1, 1)


def _rescaled(values: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else torch.ones_like(values)


@lru_cache(maxsize=2)
def _colors(signed: bool) -> Float[Tensor, "color 3"]:
    return torch.tensor(_colormap(signed)(range(COLORS))[:, :3], dtype=torch.float32)


def _colormap(signed: bool) -> Colormap:
    return mpl.colormaps["RdBu_r" if signed else "inferno"].resampled(COLORS)
