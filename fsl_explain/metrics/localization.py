"""How well a map points at a target: where its maximum, its largest pixels and its mass lie.

Every metric takes maps and boolean target masks, reads the positive part of the map, lies in [0, 1], and larger is
better. It is NaN, never a hit and never a miss, for an empty mask, for a map without a positive pixel and for a map
with a NaN or infinite pixel. No metric changes when a map is multiplied by a positive number.

The share of the image that the mask covers is what a map without information (all ones) gets from all but ``auc``,
where it gets one half.

References: FAM (Liao, Gao, Zhang, 2023); Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2018
(pointing game); Theiner et al., 2021 (top-k intersection); Arras, Osman, Samek, "CLEVR-XAI", 2022 (relevance rank and
relevance mass accuracy); Fawcett, 2006 (AUC).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.metrics.positive_part import positive_part, says_something, undefined_unless

TIED_WITHIN = 16
"""Units of rounding between values that count as equal in the pointing game."""


def pointing_game(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return whether the maximum of each map lies in its mask: 1 for a hit, 0 for a miss. Larger is better.

    Tied maxima share the point: the value is the share of them that lie inside, which is the expected value of
    picking one of them at random. Values within a few units of rounding of the maximum are tied: an enlarged map is
    flat at the border, and rounding must not choose a pixel there.
    """
    rounding = TIED_WITHIN * torch.finfo(saliency.dtype).eps
    is_maximum = saliency >= (1 - rounding) * saliency.amax(dim=(1, 2), keepdim=True)
    share = _count(is_maximum & mask, saliency.dtype) / _count(is_maximum, saliency.dtype)
    return undefined_unless(_can_be_judged(saliency, mask), share)


def top_k_intersection(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"], k: int = 1000
) -> Float[Tensor, "batch"]:
    """Return the share of the k largest pixels of each map that lie in its mask. Larger is better.

    Of the pixels tied at the k-th place the expected value of a random choice counts. The intersection is divided by
    k, as Quantus does, so that a mask of fewer than k pixels cannot reach 1. A k above the number of pixels means all
    of them.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"top-k intersection needs k of 1 or more, but k is {k}. Raise k.")
    positive = positive_part(saliency)
    pixels = positive.flatten(1)
    taken = min(k, pixels.shape[1])
    last_taken = pixels.topk(taken, dim=1).values[:, -1]
    share = _share_of_largest(positive, mask, last_taken, torch.full_like(last_taken, taken))
    return undefined_unless(_can_be_judged(saliency, mask), share)


def relevance_rank_accuracy(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the share of the largest pixels, as many as the mask has, that lie in the mask. Larger is better.

    Of the pixels tied at the last place the expected value of a random choice counts.
    """
    positive = positive_part(saliency)
    size = mask.sum(dim=(1, 2))
    descending = positive.flatten(1).sort(dim=1, descending=True).values
    last_taken = descending.gather(1, (size - 1).clamp(min=0)[:, None])[:, 0]
    share = _share_of_largest(positive, mask, last_taken, size.to(saliency.dtype))
    return undefined_unless(_can_be_judged(saliency, mask), share)


def relevance_mass_accuracy(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the positive mass inside the mask over the mass inside plus the mass outside. Larger is better.

    On the same map it equals FAM's Proportion.
    """
    positive = positive_part(saliency)
    inside = torch.where(mask, positive, 0).sum(dim=(1, 2))
    outside = torch.where(mask, 0, positive).sum(dim=(1, 2))
    return undefined_unless(_can_be_judged(saliency, mask), inside / (inside + outside))


def proportion(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the share of each map's mass that lies in its mask (FAM Eq. 19). Larger is better.

    A box is the mask of its pixels. The map is read as it is: pass the min-max-scaled map (the saliency of ``fam``)
    for the paper's figure.
    """
    positive = positive_part(saliency)
    inside = torch.where(mask, positive, 0).sum(dim=(1, 2))
    return undefined_unless(_can_be_judged(saliency, mask), inside / positive.sum(dim=(1, 2)))


def auc(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the area under the ROC curve of each map as a classifier of mask pixels. Larger is better.

    It is the probability that a pixel of the mask has a larger value than a pixel outside, a tie counting one half
    (Mann-Whitney). NaN also for a mask that covers the whole image, because nothing is outside.
    """
    ascending, order = positive_part(saliency).flatten(1).sort(dim=1)
    is_inside = mask.flatten(1).gather(1, order)
    below = torch.searchsorted(ascending, ascending)
    below_or_tied = torch.searchsorted(ascending, ascending, right=True)
    twice_rank_sum = torch.where(is_inside, below + below_or_tied + 1, 0).sum(dim=1)
    inside = is_inside.sum(dim=1)
    outside = is_inside.shape[1] - inside
    # Whole numbers until the division, because rank sums of large images do not fit float32; 0/0 without an outside.
    area = (twice_rank_sum - inside * (inside + 1)).double() / (2 * inside * outside)
    return undefined_unless(_can_be_judged(saliency, mask), area.to(saliency.dtype))


def _can_be_judged(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Bool[Tensor, "batch"]:
    return says_something(saliency) & (mask.sum(dim=(1, 2)) > 0)


def _count(pixels: Bool[Tensor, "batch height width"], dtype: torch.dtype) -> Float[Tensor, "batch"]:
    return pixels.sum(dim=(1, 2)).to(dtype)


def _share_of_largest(
    positive: Float[Tensor, "batch height width"],
    mask: Bool[Tensor, "batch height width"],
    last_taken: Float[Tensor, "batch"],
    taken: Float[Tensor, "batch"],
) -> Float[Tensor, "batch"]:
    """Return the expected share inside the mask of the ``taken`` largest pixels, of which the last is given."""
    above = positive > last_taken[:, None, None]
    tied = positive == last_taken[:, None, None]
    dtype = positive.dtype
    chosen_of_tied = (taken - _count(above, dtype)) / _count(tied, dtype)
    return (_count(above & mask, dtype) + chosen_of_tied * _count(tied & mask, dtype)) / taken
