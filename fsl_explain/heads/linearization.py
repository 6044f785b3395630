"""Heads written as G z + b at the image's own values, with frozen gains.

Each layer of a head is one ``Stage``; a head is the chain of its stages. A new kind of layer is
supported by registering one function with ``stages_of``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.heads.projection import L2Normalize


@dataclass(frozen=True)
class Dense:
    """x → x Wᵀ + b, the same for every image."""

    weight: Float[Tensor, "out channel"]
    bias: Float[Tensor, "out"] | None

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply the layer."""
        moved = values @ self.weight.to(values.dtype).T
        return moved if self.bias is None else moved + self.bias

    def transpose(self, gradient: Float[Tensor, "*batch out"]) -> Float[Tensor, "*batch channel"]:
        """Apply the transpose of the linear part."""
        return gradient @ self.weight.to(gradient.dtype)


@dataclass(frozen=True)
class Diagonal:
    """x → gain ⊙ x + bias, with gains frozen at one image's values."""

    gain: Float[Tensor, "*#batch channel"]
    bias: Float[Tensor, "channel"] | None = None

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Apply the frozen layer."""
        scaled = self.gain * values
        return scaled if self.bias is None else scaled + self.bias

    def transpose(self, gradient: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Apply the transpose of the linear part."""
        return self.gain * gradient


Stage = Dense | Diagonal


@dataclass(frozen=True)
class Linearization:
    """A head at given pooled values. Law: ``apply G to z, add offset`` gives ``head(z)``."""

    stages: tuple[Stage, ...]
    pooled: Float[Tensor, "*batch channel"]

    def pull_back(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Return Gᵀ g: an embedding-side vector expressed on the pooled channels."""
        for stage in reversed(self.stages):
            gradient = stage.transpose(gradient)
        return gradient

    @property
    def offset(self) -> Float[Tensor, "*batch out"]:
        """The constant b of G z + b, from the layers' biases alone."""
        values = torch.zeros_like(self.pooled)
        for stage in self.stages:
            values = stage.forward(values)
        return values


def linearize(head: nn.Module, pooled: Float[Tensor, "*batch channel"]) -> Linearization:
    """Freeze a head's gains at the given pooled values.

    Raises: ``ValueError`` for a layer that is not supported, naming those that are.
    """
    stages, _ = _chain([head], pooled)
    return Linearization(tuple(stages), pooled)


@singledispatch
def stages_of(layer: nn.Module, values: Tensor) -> list[Stage]:  # noqa: ARG001 - the signature of every registered layer
    """Return the stages of one layer at the values that enter it."""
    raise ValueError(
        f"expected a head made of Linear, L2Normalize, BatchNorm1d, ReLU, LeakyReLU, Dropout and Identity layers, "
        f"but got {type(layer).__name__}; register it with fsl_explain.heads.linearization.stages_of, "
        "or use method='lafam', which ignores the head."
    )


def _chain(layers: Sequence[nn.Module], values: Tensor) -> tuple[list[Stage], Tensor]:
    stages: list[Stage] = []
    for layer in layers:
        added = stages_of(layer, values)
        for stage in added:
            values = stage.forward(values)
        stages += added
    return stages, values


@stages_of.register
def _(layer: nn.Sequential, values: Tensor) -> list[Stage]:
    return _chain(list(layer), values)[0]


@stages_of.register(nn.Identity)
@stages_of.register(nn.Dropout)
def _(layer: nn.Module, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return []


@stages_of.register
def _(layer: nn.Linear, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Dense(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())]


@stages_of.register
def _(layer: L2Normalize, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Diagonal(1 / values.norm(dim=-1, keepdim=True).clamp(min=1e-12).expand_as(values))]


@stages_of.register
def _(layer: nn.BatchNorm1d, values: Tensor) -> list[Stage]:
    if layer.running_var is None or layer.running_mean is None:
        raise ValueError("expected a BatchNorm1d head with running statistics, but got one that tracks none.")
    gain = (layer.running_var.to(values.dtype) + layer.eps).rsqrt()
    if layer.affine:
        gain = gain * layer.weight.detach()
    shift = -gain * layer.running_mean
    return [Diagonal(gain.expand_as(values), shift + layer.bias.detach() if layer.affine else shift)]


@stages_of.register
def _(layer: nn.ReLU, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Diagonal((values > 0).to(values.dtype))]


@stages_of.register
def _(layer: nn.LeakyReLU, values: Tensor) -> list[Stage]:
    return [Diagonal(torch.where(values > 0, torch.ones_like(values), layer.negative_slope))]
