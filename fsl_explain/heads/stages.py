"""Stages: layers of a head as a linear part and a constant, frozen at the values of each image."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Stage(Protocol):
    """One layer as a linear part and a constant, frozen at the values of each image."""

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply the frozen layer to one vector of each image."""
        ...

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Apply the linear part to several vectors of each image."""
        ...

    def transpose(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Apply the transpose of the linear part."""
        ...


@dataclass(frozen=True)
class Dense:
    """x → x Wᵀ + b, the same for every image."""

    weight: Float[Tensor, "out channel"]
    bias: Float[Tensor, "out"] | None

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply the layer."""
        moved = values @ self.weight.to(values).T
        return moved if self.bias is None else moved + self.bias.to(values)

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Multiply by the weights."""
        return values @ self.weight.to(values).T

    def transpose(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Multiply by the transposed weights."""
        return gradient @ self.weight.to(gradient)


@dataclass(frozen=True)
class Diagonal:
    """x → gain ⊙ x + bias, with gains frozen at one image's values."""

    gain: Float[Tensor, "*#batch channel"]
    bias: Float[Tensor, "*#batch channel"] | None = None

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Apply the frozen layer."""
        scaled = self.gain * values
        return scaled if self.bias is None else scaled + self.bias

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells channel"]:
        """Multiply every vector of an image by that image's gains."""
        return self.gain.unsqueeze(-2) * values

    def transpose(self, gradient: Float[Tensor, "*queries channel"]) -> Float[Tensor, "*queries channel"]:
        """Multiply by the gains."""
        return self.gain * gradient


@dataclass(frozen=True)
class MeanFree:
    """x → x minus its mean over channels: a symmetric projection, the same for every image."""

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Subtract the mean over channels."""
        return values.sub(values.sum(dim=-1, keepdim=True), alpha=1 / values.shape[-1])

    push = forward
    transpose = forward
