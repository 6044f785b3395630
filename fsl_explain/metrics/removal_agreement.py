"""Whether a map tells what the model does: its sums over removed regions beside the real drops of the score.

A yardstick that needs no annotation. For every image there are sets of regions, what the score really lost when each
was removed, and what the map holds there. All figures are one number an image, and NaN where either side is the same
for every set: such a map makes no claim that could be right.

Sets of many regions lose more than sets of few, and a map of all ones says as much: over sets of several sizes its
figures are what counting regions reaches, and the trivial maps have to stand beside the others. The partial correlation
holds the size of the sets still. There, over single regions and over Shapley values, a map of all ones has no figure.

Reference: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import with_float64
from fsl_explain.metrics.map_similarity import map_correlation, map_rank_correlation

FEWEST_SETS = 3
"""Two numbers always lie on a line."""
ROUNDING = 1e-6
"""What is left of a map that counts regions in float32, as a share of its sums."""


@with_float64
def removal_correlation(
    claimed: Float[Tensor, "batch set"], drops: Float[Tensor, "batch set"]
) -> Float[Tensor, "batch"]:
    """Return Pearson's correlation of a map's sums over removed sets with the real drops, in [-1, 1].

    Larger is better: at 1 the map's addends are the drops but for scale and offset. NaN where either is constant or
    not finite, and below three sets.
    """
    return _unless_few(drops, map_correlation(claimed[:, None], drops[:, None].to(claimed)))


@with_float64
def removal_rank_correlation(
    claimed: Float[Tensor, "batch set"], drops: Float[Tensor, "batch set"]
) -> Float[Tensor, "batch"]:
    """Return Spearman's correlation of a map's sums over removed sets with the real drops, in [-1, 1].

    Larger is better: at 1 the map puts the sets in the right order. Otherwise as ``removal_correlation``.
    """
    return _unless_few(drops, map_rank_correlation(claimed[:, None], drops[:, None].to(claimed)))


@with_float64
def removal_partial_correlation(
    claimed: Float[Tensor, "batch set"], drops: Float[Tensor, "batch set"], sizes: Float[Tensor, "batch set"]
) -> Float[Tensor, "batch"]:
    """Return the partial correlation of a map's sums with the real drops, the size of the sets held still, in [-1, 1].

    Pearson's correlation of what is left of both when each is predicted from ``sizes``, the number of removed regions,
    by least squares. Larger is better. NaN where nothing but rounding is left of either, as of a map of all ones;
    otherwise as ``removal_correlation``.
    """
    return removal_correlation(_beside_size(claimed, sizes), _beside_size(drops.to(claimed), sizes))


@with_float64
def infidelity(claimed: Float[Tensor, "batch set"], drops: Float[Tensor, "batch set"]) -> Float[Tensor, "batch"]:
    """Return the share of the squared drops that a map leaves unexplained at its best scale (Yeh et al., Eq. 1).

    E[(a·claimed - drop)²] / E[drop²], with the optimal scale a = E[claimed·drop] / E[claimed²] of their section 2,
    or 0 where that is negative, so that a map of the wrong sign earns nothing. Smaller is better: 0 where the map's
    sums are the drops but for scale, 1 where they say nothing. The paper's own figure is this times E[drop²]. NaN for
    drops or sums that are zero throughout or not finite.
    """
    claims, real = claimed.double(), drops.to(claimed.device).double()
    power, lost = claims.square().mean(dim=1), real.square().mean(dim=1)
    together = (claims * real).mean(dim=1).clamp(min=0)
    defined = (power > 0) & (lost > 0) & power.isfinite() & lost.isfinite()
    left = 1 - together.square() / torch.where(defined, power * lost, 1)
    return torch.where(defined, left.clamp(min=0), torch.nan).to(claimed.dtype)


def _beside_size(values: Float[Tensor, "batch set"], sizes: Float[Tensor, "batch set"]) -> Float[Tensor, "batch set"]:
    """Return what a straight line over the sizes leaves of the values; 0 throughout where that is rounding."""
    found, size = (one.double() - one.double().mean(dim=1, keepdim=True) for one in (values, sizes.to(values.device)))
    power = size.square().sum(dim=1, keepdim=True)
    left = found - size * (found * size).sum(dim=1, keepdim=True) / torch.where(power > 0, power, 1)
    rounding = ROUNDING * values.double().norm(dim=1, keepdim=True)
    return torch.where(left.norm(dim=1, keepdim=True) <= rounding, 0, left)


def _unless_few(drops: Float[Tensor, "batch set"], values: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    return values if drops.shape[1] >= FEWEST_SETS else torch.full_like(values, torch.nan)
