"""The pixels of each map in ascending order, with which of them lie in the mask: one sort for every metric of ranks.

Value and membership are sorted as one whole number: the bits of a number that is not negative, read as an integer,
are in the order of the numbers, and the sign bit that such a number does not need makes room for the membership.
"""

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from fsl_explain.metrics.positive_part import positive_part

Row = Int32[np.ndarray, "pixel"]
Sort = Callable[[Row], None]
TRIED_PIXELS, TRIALS = 224 * 224, 3
WHOLE_NUMBERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def ranking_keys(
    saliency: Float[Tensor, "batch height width"], mask: Bool[Tensor, "batch height width"]
) -> Int[Tensor, "batch pixel"]:
    """Return the pixels in ascending order of their positive part, among equal ones those outside the mask first.

    Each is a key that ``values_of`` and ``inside_up_to`` read. 32 bits for single precision and less, 64 for double.
    """
    positive = _in_a_sortable_precision(positive_part(saliency)).contiguous()
    whole = WHOLE_NUMBERS[positive.dtype]
    keys = positive.view(whole)  # in place, because new memory costs more than the arithmetic
    keys <<= 1
    keys |= mask
    keys ^= torch.iinfo(whole).min  # so that the order of unsigned numbers is that of signed ones
    return _ascending_keys(keys.flatten(1))


def ascending_values(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch pixel"]:
    """Return the positive part of each map in ascending order, in single or double precision."""
    return _ascending(_in_a_sortable_precision(positive_part(saliency)).flatten(1))


def values_of(keys: Int[Tensor, "batch pixel"]) -> Float[Tensor, "batch pixel"]:
    """Return the positive part of each map in ascending order, in single or double precision."""
    limits = torch.iinfo(keys.dtype)
    # The shift drags the sign along: clear it, and undo the flipped bit, which is now the second.
    bits = keys >> 1
    bits &= limits.max
    bits ^= 1 << (limits.bits - 2)
    values: Tensor = bits.view(torch.float32 if limits.bits == 32 else torch.float64)
    return values


def members_of(keys: Int[Tensor, "batch pixel"]) -> Int[Tensor, "batch pixel"]:
    """Return 1 for the pixels in the mask and 0 for the others, in ascending order of their values."""
    return keys & 1


def inside_up_to(keys: Int[Tensor, "batch pixel"]) -> Int[Tensor, "batch pixel"]:
    """Return how many of the pixels up to each, itself included, lie in the mask."""
    return members_of(keys).cumsum(dim=1, dtype=torch.int32)


def share_of_largest_inside(
    values: Float[Tensor, "batch pixel"], inside: Int[Tensor, "batch pixel"], taken: Int[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """Return the share inside the mask of the ``taken`` largest pixels, in double precision.

    Of the pixels tied at the last place the expected value of a random choice counts. ``inside`` is that of
    ``inside_up_to``.
    """
    pixels = values.shape[1]
    last_taken = values.gather(1, (pixels - taken).clamp(0, pixels - 1)[:, None])
    first_tied = torch.searchsorted(values, last_taken)[:, 0]
    first_above = torch.searchsorted(values, last_taken, right=True)[:, 0]
    below, up_to_tied = _inside_before(inside, first_tied), _inside_before(inside, first_above)
    chosen_of_tied = (taken - (pixels - first_above)).double() / (first_above - first_tied)
    return (inside[:, -1] - up_to_tied + chosen_of_tied * (up_to_tied - below)) / taken


def mann_whitney_area(keys: Int[Tensor, "batch pixel"], inside: Int[Tensor, "batch pixel"]) -> Float[Tensor, "batch"]:
    """Return how likely a pixel inside has a larger value than one outside, a tie counting half, in double precision.

    ``inside`` is that of ``inside_up_to``. 0/0 is NaN: nothing inside, or nothing outside.
    """
    pixels, members = keys.shape[1], inside[:, -1].long()
    # Whole numbers until the division, because rank sums of large images do not fit float32.
    places = pixels * members - _sums(inside)
    won_or_tied = places - members * (members - 1) // 2
    return (2 * won_or_tied - _tied_pairs(keys)).double() / (2 * members * (pixels - members))


def _sums(inside: Int[Tensor, "batch pixel"]) -> Int[Tensor, "batch"]:
    """Return the sums of counts up to the number of pixels, in 64 bits; sums of 32 bits take a tenth of the time."""
    most = max(1, torch.iinfo(torch.int32).max // max(1, inside.shape[1]))
    parts = [part.sum(dim=1, dtype=torch.int32) for part in inside.split(most, dim=1)]
    return torch.stack(parts).sum(dim=0, dtype=torch.int64)


def _tied_pairs(keys: Int[Tensor, "batch pixel"]) -> Int[Tensor, "batch"]:
    """Return how many pairs of a pixel inside and one outside have the same value."""
    rows = keys.cpu().numpy()
    # Neighbors that differ in the membership alone: the last pixel outside and the first inside of one value.
    images, places = np.divmod(np.flatnonzero((rows[:, 1:] ^ rows[:, :-1]) == 1), max(1, rows.shape[1] - 1))
    tied = np.zeros(len(rows), dtype=np.int64)
    for image in np.unique(images):
        row, last_outside = rows[image], places[images == image]
        first_outside = np.searchsorted(row, row[last_outside])
        behind_inside = np.searchsorted(row, row[last_outside + 1], side="right")
        tied[image] = (last_outside + 1 - first_outside) @ (behind_inside - last_outside - 1)
    return torch.from_numpy(tied).to(keys.device)


def _inside_before(inside: Int[Tensor, "batch pixel"], place: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    counted = inside.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0]
    return torch.where(place > 0, counted, 0)


def _in_a_sortable_precision(values: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    return values if values.dtype in WHOLE_NUMBERS else values.float()


def _ascending(values: Tensor) -> Tensor:
    """Sort each row; on a processor by numpy, whose vectorized sort is more than ten times as fast as torch's."""
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    return torch.from_numpy(np.sort(values.detach().numpy(), axis=1))


def _ascending_keys(keys: Int[Tensor, "batch pixel"]) -> Int[Tensor, "batch pixel"]:
    """Sort each row in place; on a processor 32 bits by the kernel that is the quicker one there."""
    if keys.device.type != "cpu" or keys.dtype != torch.int32:
        return _ascending(keys)
    sort = quicker_sort()
    for row in keys.numpy():
        sort(row)
    return keys


@cache
def quicker_sort() -> Sort:
    """Return the quicker of ``SORTS`` on this machine, tried once on one map. Both give the same."""
    keys = np.random.default_rng(0).integers(-(2**31), 2**31, TRIED_PIXELS, dtype=np.int32)
    return min(SORTS, key=lambda sort: min(_seconds(sort, keys.copy()) for _ in range(TRIALS)))


def _seconds(sort: Sort, row: Row) -> float:
    start = time.perf_counter()
    sort(row)
    return time.perf_counter() - start


def _by_comparison(row: Row) -> None:
    """Sort by numpy's kernel, which takes 0.2 ms for 224×224 pixels where it has vectors of 512 bits, 1.0 elsewhere."""
    row.sort()


def _by_halves(row: Row) -> None:
    """Sort in two passes of 16 bits, for which numpy has a radix sort: 0.5 ms on one machine, 1.2 on another."""
    by_low_half = row[np.argsort(row.astype(np.uint16), kind="stable")]
    by_low_half.take(np.argsort((by_low_half >> 16).astype(np.int16), kind="stable"), out=row)


SORTS: tuple[Sort, ...] = (_by_comparison, _by_halves)
