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
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.devices import with_float64
from fsl_explain.metrics.batching import a_few_at_a_time
from fsl_explain.metrics.pixel_ranking import (
    inside_up_to,
    mann_whitney_area,
    ranking_keys,
    share_of_largest_inside,
    values_of,
)
from fsl_explain.metrics.pixelwise import kept_inside, reaches
from fsl_explain.metrics.positive_part import positive_part, says_something, undefined_unless

TIED_WITHIN = 16
"""Units of rounding between values that count as equal in the pointing game."""


@with_float64
@a_few_at_a_time
def pointing_game(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return whether the maximum of each map lies in its mask: 1 for a hit, 0 for a miss. Larger is better.

    Tied maxima share the point: the value is the share of them that lie inside, which is the expected value of
    picking one of them at random. Values within a few units of rounding of the maximum are tied: an enlarged map is
    flat at the border, and rounding must not choose a pixel there.
    """
    is_maximum = reaches(saliency, _lowest_tied(saliency.amax(dim=(1, 2)), saliency.dtype))
    share = _count(is_maximum & mask) / _count(is_maximum)
    return undefined_unless(can_be_judged(saliency, mask), share.to(saliency.dtype))


@with_float64
@a_few_at_a_time
def top_k_intersection(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"], *, k: int = 1000
) -> Float[Tensor, "batch"]:
    """Return the share of the k largest pixels of each map that lie in its mask. Larger is better.

    Of the pixels tied at the k-th place the expected value of a random choice counts. The intersection is divided by
    k, as Quantus does, so that a mask of fewer than k pixels cannot reach 1. A k above the number of pixels means all
    of them.

    Raises:
        ValueError: k is below 1.
    """
    check_places(k)
    keys = ranking_keys(saliency, mask)
    share = share_of_k_largest(values_of(keys), inside_up_to(keys), k)
    return undefined_unless(can_be_judged(saliency, mask), share.to(saliency.dtype))


@with_float64
@a_few_at_a_time
def relevance_rank_accuracy(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the share of the largest pixels, as many as the mask has, that lie in the mask. Larger is better.

    Of the pixels tied at the last place the expected value of a random choice counts.
    """
    keys = ranking_keys(saliency, mask)
    inside = inside_up_to(keys)
    share = share_of_largest_inside(values_of(keys), inside, inside[:, -1])
    return undefined_unless(can_be_judged(saliency, mask), share.to(saliency.dtype))


@with_float64
@a_few_at_a_time
def relevance_mass_accuracy(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the positive mass inside the mask over the mass inside plus the mass outside. Larger is better.

    On the same map it equals FAM's Proportion.
    """
    positive = positive_part(saliency)
    inside, outside = (_mass(kept_inside(positive, one)) for one in (mask, ~mask))
    share = inside / (inside + outside)
    return undefined_unless(can_be_judged(saliency, mask), share.to(saliency.dtype))


@with_float64
@a_few_at_a_time
def proportion(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the share of each map's mass that lies in its mask (FAM Eq. 19). Larger is better.

    A box is the mask of its pixels. The map is read as it is: pass the min-max-scaled map (the saliency of ``fam``)
    for the paper's figure.
    """
    positive = positive_part(saliency)
    share = _mass(kept_inside(positive, mask)) / _mass(positive)
    return undefined_unless(can_be_judged(saliency, mask), share.to(saliency.dtype))


@with_float64
@a_few_at_a_time
def auc(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Float[Tensor, "batch"]:
    """Return the area under the ROC curve of each map as a classifier of mask pixels. Larger is better.

    It is the probability that a pixel of the mask has a larger value than a pixel outside, a tie counting one half
    (Mann-Whitney). NaN also for a mask that covers the whole image, because nothing is outside.
    """
    keys = ranking_keys(saliency, mask)
    area = mann_whitney_area(keys, inside_up_to(keys))
    return undefined_unless(can_be_judged(saliency, mask), area.to(saliency.dtype))


def can_be_judged(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Bool[Tensor, "batch"]:
    """Return True where map and mask both say something."""
    return says_something(saliency) & says_something_inside(mask)


def says_something_inside(mask: Bool[Tensor, "batch height width"]) -> Bool[Tensor, "batch"]:
    """Return True for masks of at least one pixel."""
    return mask.view(torch.uint8).amax(dim=(1, 2)) > 0  # many times as fast as any


def share_of_k_largest(
    values: Float[Tensor, "batch pixel"], inside: Int[Tensor, "batch pixel"], k: int
) -> Float[Tensor, "batch"]:
    """Return ``top_k_intersection`` of pixels in ascending order, in double precision."""
    return share_of_largest_inside(values, inside, torch.full_like(inside[:, 0], min(k, values.shape[1])))


def share_of_maxima_inside(
    values: Float[Tensor, "batch pixel"], inside: Int[Tensor, "batch pixel"], dtype: torch.dtype
) -> Float[Tensor, "batch"]:
    """Return ``pointing_game`` of pixels in ascending order, in double precision; ``dtype`` is that of the map."""
    below = torch.searchsorted(values, _lowest_tied(values[:, -1], dtype)[:, None])[:, 0]
    return share_of_largest_inside(values, inside, values.shape[1] - below)


def _lowest_tied(maximum: Float[Tensor, "batch"], dtype: torch.dtype) -> Float[Tensor, "batch"]:
    # Sixteen units of half precision would be a tenth of the map: there only equal values tie.
    return (1 - TIED_WITHIN * min(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)) * maximum


def _mass(positive: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch"]:
    # In half precision the mass of a photograph's map is infinite; sums in double take several times as long.
    return positive.sum(dim=(1, 2), dtype=torch.promote_types(positive.dtype, torch.float32))


def _count(pixels: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch"]:
    # Bytes are summed twice as fast as booleans.
    return pixels.view(torch.uint8).sum(dim=(1, 2), dtype=torch.int32).double()


def check_places(k: int) -> None:
    """Raise ValueError for a k below 1."""
    if k < 1:
        raise Mistake(f"top-k intersection needs k of 1 or more, but k is {k}. Raise k.")
