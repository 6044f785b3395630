"""How alike two maps of one image are, as wholes: signed, and whatever their scale.

Reference: Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (rank correlation of maps).
"""

import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from fsl_explain.devices import with_float64

ROUNDING_STEPS = 8
"""How many steps of its precision a constant map may stray by."""


@with_float64
def map_correlation(
    saliency: Float[Tensor, "batch height width"], other: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return Pearson's correlation of each pair of maps, in [-1, 1].

    The signed values count, not their positive part. NaN where a map is constant, but for rounding, or has a NaN or
    infinite pixel.
    """
    one, two = (_deviations(maps) for maps in (saliency, other))
    correlation: Tensor = ((one * two).sum(dim=1) / (one.norm(dim=1) * two.norm(dim=1))).clamp(-1, 1)
    return correlation.to(saliency.dtype)


@with_float64
def map_rank_correlation(
    saliency: Float[Tensor, "batch height width"], other: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return Spearman's correlation of each pair of maps, in [-1, 1]; equal values share their mean rank.

    The signed values count, not their positive part. NaN where a map is constant or has a NaN or infinite pixel.
    """
    correlation = map_correlation(_ranks(saliency), _ranks(other))
    return correlation.to(saliency.dtype)


def _deviations(maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch pixel"]:
    """Return each pixel's distance from the mean of its map; 0 throughout where that is rounding."""
    pixels = maps.flatten(1).double()
    deviations = pixels - pixels.mean(dim=1, keepdim=True)
    rounding = ROUNDING_STEPS * torch.finfo(maps.dtype).eps * pixels.norm(dim=1, keepdim=True)
    return torch.where(deviations.norm(dim=1, keepdim=True) <= rounding, 0, deviations)


def _ranks(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    is_finite = saliency.isfinite().all(dim=2).all(dim=1)
    pixels = saliency.detach().cpu().flatten(1).double().numpy()
    ranks = torch.from_numpy(rankdata(pixels, axis=1)).reshape(saliency.shape)
    return torch.where(is_finite[:, None, None], ranks.to(saliency.device), torch.nan)
