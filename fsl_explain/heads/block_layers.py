"""Layers of transformers in heads: residual branches, gates and scales, each as stages with frozen gains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.heads.linearization import chain_of, secant_gains, stages_along, stages_of, whatever_enters
from fsl_explain.heads.stages import Dense, Diagonal, Stage


class Residual(nn.Module):
    """x → x + branch(x)."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch: nn.Sequential = nn.Sequential(*branch)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Add what the branch makes of the values."""
        summed: Tensor = values + self.branch(values)
        return summed


class Instead(nn.Module):
    """x → layers(x) − x: what is added where layers take the place of the values."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers: nn.Sequential = nn.Sequential(*layers)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return what the layers make of the values, without these."""
        added: Tensor = self.layers(values) - values
        return added


class Gated(nn.Module):
    """x → φ(gate(x)) ⊙ value(x), as in SwiGLU (Shazeer, 2020); the gate is the frozen gain."""

    def __init__(self, gate: nn.Module, activation: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.gate: nn.Module = gate
        self.activation: nn.Module = activation
        self.value: nn.Module = value

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Multiply the values by their gate."""
        gated: Tensor = self.activation(self.gate(values)) * self.value(values)
        return gated


class Elementwise(nn.Module):
    """x → φ(x), entry by entry, for an activation of any library."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Apply the activation."""
        return self.activation(values)


class Scale(nn.Module):
    """x → scale ⊙ x, a layer scale (Touvron et al., 2021)."""

    def __init__(self, scale: Float[Tensor, "channel"]) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach(), persistent=False)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Multiply every channel by its scale."""
        scaled: Tensor = values * self.scale.to(values)
        return scaled

    scale: Tensor


class Affine(nn.Module):
    """x → x Wᵀ + b, with the weights of another layer or a part of them."""

    def __init__(self, weight: Float[Tensor, "out channel"], bias: Float[Tensor, "out"] | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach(), persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach(), persistent=False)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply the layer in the precision of the values."""
        return Dense(self.weight, self.bias).forward(values)

    weight: Tensor
    bias: Tensor | None


class Vector(nn.Module):
    """x → norm(x) of a norm over maps, such as LayerNorm2d, for vectors."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Normalize over the channels."""
        norm = self.norm
        weight, bias = (None if one is None else one.to(values) for one in (norm.weight, norm.bias))
        return nn.functional.layer_norm(values, tuple(norm.normalized_shape), weight, bias, norm.eps)


class Parallel(nn.Module):
    """Apply one layer to each part of the channels: a block-diagonal layer. ``widths`` are those of the parts."""

    def __init__(self, layers: Sequence[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.layers: nn.ModuleList = nn.ModuleList(layers)
        self.widths: tuple[int, ...] = tuple(widths)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply each layer to its part."""
        parts = values.split(self.widths, dim=-1)
        return torch.cat([layer(part) for layer, part in zip(self.layers, parts, strict=True)], dim=-1)


class MeanOfParts(nn.Module):
    """Average ``count`` equal parts of the channels."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Return the mean of the parts."""
        mean: Tensor = values.unflatten(-1, (self.count, -1)).mean(dim=-2)
        return mean


@dataclass(frozen=True)
class Branch:
    """x → kept x + branch(x), the stages of the branch frozen."""

    stages: tuple[Stage, ...]
    kept: float = 1.0

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Apply the frozen layer."""
        inner = values
        for stage in self.stages:
            inner = stage.forward(inner)
        return inner.add(values, alpha=self.kept)

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells channel"]:
        """Apply the linear part."""
        inner = values
        for stage in self.stages:
            inner = stage.push(inner)
        return inner.add(values, alpha=self.kept)

    def transpose(self, gradient: Float[Tensor, "*queries channel"]) -> Float[Tensor, "*queries channel"]:
        """Apply the transpose of the linear part."""
        inner = gradient
        for stage in reversed(self.stages):
            inner = stage.transpose(inner)
        return inner.add(gradient, alpha=self.kept)


@dataclass(frozen=True)
class Blocks:
    """A block-diagonal layer: each part of the channels goes through stages of its own."""

    chains: tuple[tuple[Stage, ...], ...]
    widths: tuple[int, ...]
    widths_out: tuple[int, ...]

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply the frozen layers."""
        parts = list(values.split(self.widths, dim=-1))
        for number, chain in enumerate(self.chains):
            for stage in chain:
                parts[number] = stage.forward(parts[number])
        return torch.cat(parts, dim=-1)

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Apply the linear parts."""
        parts = list(values.split(self.widths, dim=-1))
        for number, chain in enumerate(self.chains):
            for stage in chain:
                parts[number] = stage.push(parts[number])
        return torch.cat(parts, dim=-1)

    def transpose(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Apply the transposes of the linear parts."""
        parts = list(gradient.split(self.widths_out, dim=-1))
        for number, chain in enumerate(self.chains):
            for stage in reversed(chain):
                parts[number] = stage.transpose(parts[number])
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class Averaged:
    """The mean of ``count`` equal parts of the channels."""

    count: int

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Return the mean of the parts."""
        mean: Tensor = values.unflatten(-1, (self.count, -1)).mean(dim=-2)
        return mean

    push = forward

    def transpose(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Give each part its share."""
        return torch.cat([gradient / self.count] * self.count, dim=-1)


@stages_of.register
def _(layer: Residual, values: Tensor) -> list[Stage]:
    return [Branch(tuple(stages_along([layer.branch], values)))]


@stages_of.register
def _(layer: Instead, values: Tensor) -> list[Stage]:
    return [Branch(tuple(stages_along([layer.layers], values)), kept=-1.0)]


@stages_of.register
def _(layer: Gated, values: Tensor) -> list[Stage]:
    gate = layer.activation(chain_of([layer.gate], values)[1])
    return [*stages_along([layer.value], values), Diagonal(gate)]


@stages_of.register
def _(layer: Elementwise, values: Tensor) -> list[Stage]:
    return [secant_gains(layer, values)]


@stages_of.register
@whatever_enters
def _(layer: Scale, values: Tensor) -> list[Stage]:
    return [Diagonal(layer.scale.to(values))]


@stages_of.register
@whatever_enters
def _(layer: Affine, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Dense(layer.weight, layer.bias)]


@stages_of.register
def _(layer: Vector, values: Tensor) -> list[Stage]:
    return stages_of(layer.norm, values)


@stages_of.register
def _(layer: Parallel, values: Tensor) -> list[Stage]:
    parts = [chain_of([one], part) for one, part in zip(layer.layers, values.split(layer.widths, dim=-1), strict=True)]
    return [Blocks(tuple(tuple(chain) for chain, _ in parts), layer.widths, tuple(out.shape[-1] for _, out in parts))]


@stages_of.register
@whatever_enters
def _(layer: MeanOfParts, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Averaged(layer.count)]
