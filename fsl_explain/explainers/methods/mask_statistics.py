"""What values given by masks say about every pixel: their weighted mean and spread, streamed over the masks.

Notation: m is a mask in [0, 1], s its value, W = Σ m at a pixel, c a center near the values.
Source of both quantities: Wickstrøm et al., "RELAX: Representation Learning Explainability", 2023, as its official
code has them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDING = 1e-12


@dataclass(frozen=True)
class MaskSums:
    """Sums over masks at every pixel, in float64; those of two sets of masks may be added.

    Σ m s and Σ m s² in float32 would lose the spread, which is a small difference of large sums.
    """

    center: float  # c
    weight: Float[Tensor, "height width"]  # W
    first: Float[Tensor, "image height width"]  # Σ m (s − c)
    second: Float[Tensor, "image height width"]  # Σ m (s − c)²

    def __add__(self, other: "MaskSums") -> "MaskSums":
        """Join two sets of masks whose values have the same center."""
        return MaskSums(self.center, self.weight + other.weight, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Float[Tensor, "image height width"]:
        """RELAX's importance R = Σ m s / Σ m.

        DEVIATION: the official code starts W at 1e-10, as if a mask of that weight had given s = 0. Without it R
        differs by 1e-10 / W of itself, and U by 1e-10 R². A pixel that no mask shows has R = 0 there and here.
        """
        return torch.where(self.weight > 0, self.center + self._shift, 0)

    @property
    def spread(self) -> Float[Tensor, "image height width"]:
        """RELAX's uncertainty U = Σ m (s − R)² as the official code adds it up: it grows with the number of masks.

        DEVIATION: the paper's equation divides by the number of masks; the code does not.
        """
        return (self.second - self._shift * self.first).clamp(min=0)

    @property
    def _shift(self) -> Float[Tensor, "image height width"]:
        return self.first / torch.where(self.weight > 0, self.weight, 1)


@dataclass(frozen=True)
class SplitSums:
    """The sums over the masks of even and of odd number, which say how far the mean still depends on the masks."""

    even: MaskSums
    odd: MaskSums
    masks: int  # in both

    def __add__(self, other: "SplitSums") -> "SplitSums":
        """Join two sets of masks."""
        return SplitSums(self.even + other.even, self.odd + other.odd, self.masks + other.masks)

    @property
    def joined(self) -> MaskSums:
        """The sums over all masks."""
        return self.even + self.odd

    @property
    def stability(self) -> Float[Tensor, "image"]:
        """The correlation over pixels of the two halves' means."""
        return correlation(self.even.mean, self.odd.mean)


def mask_sums(
    values: Float[Tensor, "mask image"], masks: Float[Tensor, "mask height width"], center: float = 0.0
) -> MaskSums:
    """Sum over masks that all images share; ``values`` holds what each mask gave for each image."""
    centered = (values.double() - center).T
    flat = masks.double().flatten(start_dim=1)
    sums = torch.cat([centered, centered.square()]) @ flat
    first, second = sums.unflatten(-1, masks.shape[1:]).chunk(2)
    return MaskSums(center, flat.sum(dim=0).unflatten(0, masks.shape[1:]), first, second)


def split_sums(
    values: Float[Tensor, "mask image"], masks: Float[Tensor, "mask height width"], numbers: range, center: float
) -> SplitSums:
    """Sum over the masks of these consecutive numbers, the even and the odd ones apart."""
    even, odd = slice(numbers.start % 2, None, 2), slice(1 - numbers.start % 2, None, 2)
    return SplitSums(
        mask_sums(values[even], masks[even], center), mask_sums(values[odd], masks[odd], center), len(numbers)
    )


def correlation(
    maps: Float[Tensor, "image height width"], others: Float[Tensor, "image height width"]
) -> Float[Tensor, "image"]:
    """Correlate two maps of each image over their pixels; NaN where one of them is constant."""
    both = torch.stack([maps, others]).flatten(start_dim=-2)
    centered = both - both.mean(dim=-1, keepdim=True)
    lengths = centered.norm(dim=-1)
    varies = (lengths > ROUNDING * both.norm(dim=-1)).all(dim=0)
    return torch.where(varies, (centered[0] * centered[1]).sum(dim=-1) / lengths.prod(dim=0), torch.nan)
