"""The six figures that LaFAM reports of a map, from one sort of its pixels.

Each is that of the function of its name, in less time than calling the six in turn.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.devices import with_float64
from fsl_explain.metrics.batching import check_masks, maps_at_once
from fsl_explain.metrics.gini_index import gini_index
from fsl_explain.metrics.localization import (
    check_places,
    says_something_inside,
    share_of_k_largest,
    share_of_maxima_inside,
)
from fsl_explain.metrics.pixel_ranking import (
    inside_up_to,
    mann_whitney_area,
    members_of,
    ranking_keys,
    share_of_largest_inside,
    values_of,
)
from fsl_explain.metrics.positive_part import says_something, undefined_unless


@dataclass(frozen=True)
class MapFigures:
    """One value for each map and figure; NaN where the figure is not defined. All in [0, 1].

    Each is what the function of its name in ``fsl_explain.metrics`` returns: ``pointing_game``, ``top_k_intersection``,
    ``relevance_rank_accuracy``, ``relevance_mass_accuracy`` and ``auc``, of which larger is better, and ``sparseness``,
    which knows no target.
    """

    pointing_game: Float[Tensor, "batch"]
    top_k_intersection: Float[Tensor, "batch"]
    relevance_rank_accuracy: Float[Tensor, "batch"]
    relevance_mass_accuracy: Float[Tensor, "batch"]
    auc: Float[Tensor, "batch"]
    sparseness: Float[Tensor, "batch"]


@with_float64
def map_figures(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"], *, k: int = 1000
) -> MapFigures:
    """Return all six figures of each map. Larger is better for all but sparseness, which knows no target.

    Memory beyond the maps themselves does not grow with the batch.

    Raises:
        ValueError: k is below 1, or there is not one mask for each map.
        TypeError: the mask is not boolean.
    """
    check_places(k)
    check_masks(saliency, mask)
    size = maps_at_once(saliency)
    pairs = zip(saliency.split(size), mask.split(size), strict=True)
    parts = [_figures(maps, masks, k) for maps, masks in pairs]
    return MapFigures(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(MapFigures)))


def _figures(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"], k: int
) -> MapFigures:
    keys = ranking_keys(saliency, mask)
    values, inside = values_of(keys), inside_up_to(keys)
    doubles = values.to(torch.float64, copy=True)
    mass = doubles.sum(dim=1)
    gini = gini_index(doubles, mass)
    mass_inside = doubles.mul_(members_of(keys)).sum(dim=1)  # in place, of a copy
    drawn, dtype = says_something(saliency), saliency.dtype
    defined = drawn & says_something_inside(mask)

    def judged(figure: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        return undefined_unless(defined, figure.to(dtype))

    return MapFigures(
        pointing_game=judged(share_of_maxima_inside(values, inside, dtype)),
        top_k_intersection=judged(share_of_k_largest(values, inside, k)),
        relevance_rank_accuracy=judged(share_of_largest_inside(values, inside, inside[:, -1])),
        relevance_mass_accuracy=judged(mass_inside / mass),
        auc=judged(mann_whitney_area(keys, inside)),
        sparseness=undefined_unless(drawn, gini.to(dtype)),
    )
