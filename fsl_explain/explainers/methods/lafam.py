"""LaFAM: label-free activation maps.

Source: Karjauv, Albayrak, "Unsupervised Feature Attribution with Label-free Activation Maps", 2024.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.encoder import Features
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.normalization import min_max_map, upsample
from fsl_explain.explainers.question import Question

ROUNDING = 1e-4
VARYING = 1e-2  # of the root mean square; a picture of one color gives flat maps, too


def mean_activation_map(maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch h w"]:
    """Average the activation maps over channels (LaFAM Eq. 1)."""
    return maps.mean(dim=-3)


def mean_map(maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch h w"]:
    """Return the mean activation map of maps that have one.

    Behind a layer norm without gains every cell has the same mean over channels, and what is left of the mean map is
    rounding: its range is below 1e-4 of what the maps themselves differ by from cell to cell.

    Raises: ``ValueError`` where that is so of all the maps.
    """
    found = mean_activation_map(maps)
    varying = (maps - maps.mean(dim=(-2, -1), keepdim=True)).square().mean(dim=(-3, -2, -1)).sqrt()
    size, span = maps.square().mean(dim=(-3, -2, -1)).sqrt(), found.amax(dim=(-2, -1)) - found.amin(dim=(-2, -1))
    alike = (span > 0) & (span <= ROUNDING * varying) & (varying > VARYING * size)
    if bool(alike.all()) and alike.numel() > 0:
        raise Mistake(
            "expected activation maps whose mean over channels differs from cell to cell, but it is the same in all "
            "of them, as behind a layer norm; use a layer before the norm, or method='eigen-cam'."
        )
    return found


def redistributed(features: Features) -> Float[Tensor, "*batch h w"]:
    """Return the mean activation map, or, where there are finer maps, what of it is carried back to them.

    Each activation's part A_np / N of the mean is the relevance that is carried back, so that the finer cells sum to
    those of the mean map but for what is kept apart. The paper asks for such a map in its outlook.
    """
    found = mean_map(features.maps)
    if features.finer is None:
        return found
    return features.finer.drawn(features.maps / features.maps.shape[-3], features.maps.new_ones(1, 1, 1)).cells


def saliency(
    cells: Float[Tensor, "*batch h w"], size: tuple[int, int], interpolation: str = "bilinear"
) -> Float[Tensor, "*batch height width"]:
    """Rescale the mean map to [0, 1], then enlarge it (LaFAM Eq. 2).

    The paper's tables use ``nearest``; ``bilinear`` is for looking at.
    """
    return upsample(min_max_map(cells), size, interpolation)


def attribute(question: Question) -> Attribution:
    """Return the mean map; the method has no channel weights, so contributions and bias are NaN."""
    undefined = question.undefined
    return Attribution(undefined, redistributed(question.query), undefined[..., 0])


def attribute_supports(question: Question) -> SupportAttribution:
    """Return the mean map of every support."""
    features = question.supports.features
    if features is None:
        raise Mistake("the support side needs the supports' activation maps, but only embeddings were kept.")
    batch = question.target.shape
    cells = redistributed(features)
    return SupportAttribution(cells.expand(*batch, *cells.shape[-4:]), cells.new_full(batch, float("nan")))


LAFAM_OF_THE_TABLES = Method(
    attribute, attribute_supports, partial(saliency, interpolation="nearest"), uses_supports=False, draws_finer=True
)
LAFAM = Method(
    attribute, attribute_supports, saliency, uses_supports=False, draws_finer=True, tabled=LAFAM_OF_THE_TABLES
)
