"""How alike two maps of one image are, as wholes: signed, and whatever their scale.

Reference: Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (rank correlation of maps).
"""

import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor


def map_correlation(
    saliency: Float[Tensor, "batch height width"], other: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return Pearson's correlation of each pair of maps, in [-1, 1].

    The signed values count, not their positive part. NaN where a map is constant or has a NaN or infinite pixel.
    """
    one, two = _deviations(saliency.flatten(1).double()), _deviations(other.flatten(1).double())
    lengths = one.norm(dim=1) * two.norm(dim=1)
    correlation = ((one * two).sum(dim=1) / lengths).clamp(-1, 1)
    is_finite = saliency.flatten(1).isfinite().all(dim=1) & other.flatten(1).isfinite().all(dim=1)
    varies = (saliency.amin((1, 2)) < saliency.amax((1, 2))) & (other.amin((1, 2)) < other.amax((1, 2)))
    return torch.where(is_finite & varies, correlation, torch.nan).to(saliency.dtype)


def map_rank_correlation(
    saliency: Float[Tensor, "batch height width"], other: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return Spearman's correlation of each pair of maps, in [-1, 1]; equal values share their mean rank.

    The signed values count, not their positive part. NaN where a map is constant or has a NaN or infinite pixel.
    """
    correlation = map_correlation(_ranks(saliency), _ranks(other))
    return correlation.to(saliency.dtype)


def _deviations(values: Float[Tensor, "batch pixel"]) -> Float[Tensor, "batch pixel"]:
    return values - values.mean(dim=1, keepdim=True)


def _ranks(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    is_finite = saliency.isfinite().all(dim=2).all(dim=1)
    ranks = torch.from_numpy(rankdata(saliency.detach().cpu().flatten(1).numpy(), axis=1)).reshape(saliency.shape)
    return torch.where(is_finite[:, None, None], ranks.to(saliency.device), torch.nan)
