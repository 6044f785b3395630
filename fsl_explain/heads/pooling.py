"""Pooling of activation maps to one value per channel, and each cell's share of that value.

A pooling is a frozen value with three functions. Laws: the shares of a channel sum to its pooled
value; ``spread(maps, weights)`` is the sum over channels of ``weights`` times ``shares``.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Pooling(Protocol):
    """How activation maps become one value per channel."""

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Pool each map to one value."""
        ...

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Split each pooled value into one signed addend per cell."""
        ...

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "*queries h w"]:
        """Sum the shares over channels with one weight a channel; leading dimensions broadcast."""
        ...


def weighted_sum(
    maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
) -> Float[Tensor, "*queries h w"]:
    """Sum maps over channels with one weight a channel, as one matrix product per image."""
    height, width = maps.shape[-2:]
    flat = weights[..., None, :].to(maps.dtype) @ maps.flatten(start_dim=-2)
    summed: Tensor = flat.squeeze(-2).unflatten(-1, (height, width))
    return summed


@dataclass(frozen=True)
class GlobalAveragePooling:
    """The mean over cells: each cell holds 1/D of its activation."""

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Average each map."""
        return maps.mean(dim=(-2, -1))

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Divide each activation by the number of cells."""
        return maps / (maps.shape[-2] * maps.shape[-1])

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "*queries h w"]:
        """Sum the shares over channels without writing them out."""
        return weighted_sum(maps, weights / (maps.shape[-2] * maps.shape[-1]))


@dataclass(frozen=True)
class GlobalMaxPooling:
    """The maximum over cells: it belongs to the cell that holds it; tied cells split it evenly."""

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Take the maximum of each map."""
        return maps.amax(dim=(-2, -1))

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Give the maximum to the cell that holds it, split evenly between ties."""
        largest = maps.amax(dim=(-2, -1), keepdim=True)
        ties = (maps == largest).to(maps.dtype)
        return largest * ties / ties.sum(dim=(-2, -1), keepdim=True)

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "*queries h w"]:
        """Sum the shares over channels."""
        return weighted_sum(self.shares(maps), weights)


@dataclass(frozen=True)
class LogSumExpPooling:
    """z = (1/r) log mean_p exp(r A_p), between the mean (r → 0) and the maximum (r → ∞).

    A cell's share is its Aumann-Shapley value A_p ∫₀¹ softmax_p(r a A) da. The integrand changes on
    the scale of 1/(r·range), so the quadrature is Gauss-Legendre on panels that halve towards 0, with
    more nodes until the shares add up.
    """

    r: float = 10.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.r) and self.r > 0):
            raise ValueError(f"log-sum-exp pooling needs a finite r above 0, but got {self.r}.")

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Pool each map by log-mean-exp with sharpness r.

        The mean of exp(x) - 1 at x = r (A - max A) keeps its digits for small r, where log-sum-exp loses them.
        """
        largest = maps.amax(dim=(-2, -1), keepdim=True)
        below = torch.expm1(self.r * (maps - largest)).mean(dim=(-2, -1))
        return largest[..., 0, 0] + torch.log1p(below) / self.r

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Split each pooled value by integrating the softmax from the zero map to the map."""
        pooled = self(maps)
        scale = maps.abs().amax(dim=(-2, -1))
        tolerance = 16 * torch.finfo(maps.dtype).eps
        shares = maps
        for nodes in (8, 16, 32, 64):
            shares = maps * self._mean_softmax(maps, nodes)
            if ((shares.sum(dim=(-2, -1)) - pooled).abs() <= tolerance * scale).all():
                break
        return shares

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "*queries h w"]:
        """Sum the shares over channels."""
        return weighted_sum(self.shares(maps), weights)

    def _mean_softmax(
        self, maps: Float[Tensor, "*batch channel h w"], nodes: int
    ) -> Float[Tensor, "*batch channel h w"]:
        flat = maps.flatten(start_dim=-2)
        exponent = self.r * float((flat.amax(dim=-1) - flat.amin(dim=-1)).max())
        panels = max(1, math.ceil(math.log2(max(exponent, 1.0))) + 1)
        edges = [0.0, *(0.5**i for i in range(panels - 1, -1, -1))]
        points, weights = np.polynomial.legendre.leggauss(nodes)
        mean = torch.zeros_like(flat)
        for low, high in pairwise(edges):
            half = (high - low) / 2
            for point, weight in zip(points, weights, strict=True):
                position = low + half * (point + 1)
                mean += half * weight * torch.softmax(self.r * position * flat, dim=-1)
        return mean.reshape(maps.shape)


POOLINGS: dict[str, Pooling] = {
    "gap": GlobalAveragePooling(),
    "gmp": GlobalMaxPooling(),
    "lse": LogSumExpPooling(),
}
