"""Pooling of activation maps to one value per channel, and each cell's share of that value."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.heads.softmax_integral import log_mean_exp, softmax_integral
from fsl_explain.traces import weighted_sum


@runtime_checkable
class Pooling(Protocol):
    """How activation maps become one value per channel, and what each cell has in it.

    Laws: the shares of a channel sum to its pooled value; ``spread(maps, weights)`` is the sum over channels of
    ``weights`` times ``shares``. All are in the unit of the activations.
    """

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Pool each map to one value."""
        ...

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Split each pooled value into one signed addend per cell."""
        ...

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel; leading dimensions broadcast."""
        ...


def is_linear_in_maps(pooling: Pooling) -> bool:
    """Say whether a cell's share is its activation times a number that is the same for all cells and maps.

    A pooling that does not say so, by an attribute of this name, is not taken to be.
    """
    return bool(getattr(pooling, "is_linear_in_maps", False))


@dataclass(frozen=True)
class GlobalAveragePooling:
    """The mean over cells: each cell holds 1/D of its activation."""

    is_linear_in_maps: ClassVar[bool] = True

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Average each map."""
        return maps.mean(dim=(-2, -1))

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Divide each activation by the number of cells."""
        return maps / (maps.shape[-2] * maps.shape[-1])

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel, without writing them out."""
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
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel."""
        return weighted_sum(self.shares(maps), weights)


@dataclass(frozen=True)
class LogSumExpPooling:
    """z = (1/r) log mean_p exp(r A_p), between the mean (r → 0) and the maximum (r → ∞).

    ``r`` is in units of one over an activation. A cell's share is its Aumann-Shapley value A_p ∫₀¹ softmax_p(r a A) da.

    Raises: ``ValueError`` for an r that is not finite and above 0.
    """

    r: float = 10.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.r) and self.r > 0):
            raise Mistake(f"log-sum-exp pooling needs a finite r above 0, but got {self.r}.")

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Pool each map by log-mean-exp with sharpness r."""
        flat = maps.flatten(start_dim=-2)
        largest = flat.amax(dim=-1, keepdim=True)
        return largest[..., 0] + log_mean_exp(self.r * (flat - largest)) / self.r

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Split each pooled value by integrating the softmax from the zero map to the map."""
        flat = maps.flatten(start_dim=-2)
        exponents = self.r * (flat - flat.amax(dim=-1, keepdim=True))
        return maps * softmax_integral(exponents.reshape(-1, flat.shape[-1])).reshape(maps.shape)

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel."""
        return weighted_sum(self.shares(maps), weights)


@dataclass(frozen=True)
class GeneralizedMeanPooling:
    """z = (mean_p max(A_p, eps)^p)^(1/p), between the mean (p = 1) and the maximum (p → ∞) (Radenovic et al., 2019).

    A cell's share is z A_p^p / Σ A^p. Activations below eps, negative ones among them, count as eps, so z is positive.

    Raises: ``ValueError`` for a p or an eps that is not finite and above 0.
    """

    p: float = 3.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in (("p", self.p), ("eps", self.eps)):
            if not (math.isfinite(value) and value > 0):
                raise Mistake(f"generalized-mean pooling needs a finite {name} above 0, but got {value}.")

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Pool each map by its generalized mean, relative to its largest activation, so that no power overflows."""
        largest, exponents = self._relative(maps)
        return largest * torch.exp(log_mean_exp(exponents) / self.p)

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        """Split each pooled value in proportion to the p-th powers of its activations."""
        powers = self._relative(maps)[1].exp()
        return (powers * (self(maps) / powers.sum(dim=-1))[..., None]).reshape(maps.shape)

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel."""
        return weighted_sum(self.shares(maps), weights)

    def _relative(
        self, maps: Float[Tensor, "*batch channel h w"]
    ) -> tuple[Float[Tensor, "*batch channel"], Float[Tensor, "*batch channel cells"]]:
        """Return the largest activation of each map, and p log(A / largest) of its cells."""
        flat = maps.flatten(start_dim=-2).clamp(min=self.eps)
        largest = flat.amax(dim=-1, keepdim=True)
        return largest[..., 0], self.p * torch.log(flat / largest)


GAP, GMP, LSE, GEM = GlobalAveragePooling(), GlobalMaxPooling(), LogSumExpPooling(), GeneralizedMeanPooling()
