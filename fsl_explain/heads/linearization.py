"""Heads written as G z + b at the image's own values, with frozen gains.

Each layer of a head is one ``Stage``; a head is the chain of its stages. A new kind of layer is
supported by registering one function with ``stages_of``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.constants import Constants
from fsl_explain.heads.direction import length
from fsl_explain.heads.projection import Center, L2Normalize, Power
from fsl_explain.heads.stages import Dense, Diagonal, MeanFree, Stage

NOTHING: Mapping[nn.Module, Tensor] = {}
WHATEVER_ENTERS: set[Callable[..., list[Stage]]] = set()  # functions of layers that are the same for all values


@dataclass(frozen=True)
class Linearization:
    """The ``stages`` of a head, its layers frozen at the values ``pooled``. Law: G z + ``offset`` is ``head(z)``."""

    stages: tuple[Stage, ...]
    pooled: Float[Tensor, "*batch channel"]

    def pull_back(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Return Gᵀ g: an embedding-side vector g, the ``gradient``, expressed on the pooled channels."""
        for stage in reversed(self.stages):
            gradient = stage.transpose(gradient)
        return gradient

    def push_forward(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Return G v for several vectors of each image, without the offset.

        Law: pushed forward, the pooling's shares of the cells sum with the offset to ``head(z)``.
        """
        for stage in self.stages:
            values = stage.push(values)
        return values

    def pull_with_bias(
        self, gradient: Float[Tensor, "*queries out"]
    ) -> tuple[Float[Tensor, "*queries channel"], Float[Tensor, "*queries"]]:
        """Return Gᵀ g and g·b, the constant found on the way; the weights are read once for both.

        Law: the second is g times ``offset``.
        """
        met, trail = Constants(), self.trail_back(gradient)
        self.meet(trail, met)
        return trail[-1], met.total(trail[-1]).expand(gradient.shape[:-1])

    def trail_back(self, gradient: Float[Tensor, "*queries out"]) -> list[Tensor]:
        """Return g as it leaves the head and as it enters each stage, the last first: Gᵀ g is at the end."""
        trail = [gradient]
        for stage in reversed(self.stages):
            trail.append(stage.transpose(trail[-1]))
        return trail

    def meet(self, trail: Sequence[Tensor], met: Constants, over: int = 1) -> None:
        """Add what a gradient met of biases on its trail back, to be summed over its last ``over`` dimensions."""
        for stage, left, entered in zip(reversed(self.stages), trail, trail[1:], strict=False):
            met.meet(left, _constant_of(stage, entered), over)

    def push_beside_bias(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Return G v for several vectors of each image, with the offset added to the last of them."""
        return through(self.stages, values)

    @property
    def offset(self) -> Float[Tensor, "*batch out"]:
        """The constant b of G z + b, from the layers' biases alone."""
        values = torch.zeros_like(self.pooled)
        for stage in self.stages:
            values = stage.forward(values)
        return values


def through(stages: Sequence[Stage], values: Float[Tensor, "*batch cells channel"]) -> Tensor:
    """Apply the linear parts of stages to several vectors of each image, and their constants to the last alone."""
    for stage in stages:
        moved, constant = stage.push(values), _constant_of(stage, values[..., -1, :])
        if constant is not None:
            moved = torch.cat([moved[..., :-1, :], (moved[..., -1, :] + constant)[..., None, :]], dim=-2)
        values = moved
    return values


def _constant_of(stage: Stage, entering: Float[Tensor, "*batch channel"]) -> Tensor | None:
    """Return what a stage makes of zeros in the shape and precision of the values that enter it; None: nothing."""
    if isinstance(stage, (Dense, Diagonal)):
        return None if stage.bias is None else stage.bias.to(entering)
    return None if isinstance(stage, MeanFree) else stage.forward(torch.zeros_like(entering))


def linearize(
    head: nn.Module, pooled: Float[Tensor, "*batch channel"], known: Mapping[nn.Module, Tensor] = NOTHING
) -> Linearization:
    """Freeze a head's gains at the given pooled values; ``known`` are values that enter some of its layers.

    Raises: ``ValueError`` for a layer that is not supported, naming those that are, or that normalizes otherwise.
    """
    return Linearization(tuple(stages_along([head], pooled, known)), pooled)


def linearized(
    head: nn.Module, pooled: Float[Tensor, "*batch channel"]
) -> tuple[Linearization, Float[Tensor, "*batch out"]]:
    """Freeze a head's gains as ``linearize`` does, and return what it makes of the pooled values, too."""
    stages, values = chain_of([head], pooled)
    return Linearization(tuple(stages), pooled), values


@singledispatch
def stages_of(layer: nn.Module, values: Tensor) -> list[Stage]:  # noqa: ARG001 - the signature of every registered layer
    """Return the stages of one layer at the values that enter it.

    Raises: ``ValueError`` for a layer that is not registered.
    """
    kinds = (kind for kind in stages_of.registry if kind not in (object, nn.Module))
    plain = (kind for kind in kinds if not kind.__module__.endswith(("block_layers", "cell_head")))
    known = ", ".join(sorted(kind.__name__ for kind in plain))
    raise Mistake(
        f"expected a head made of {known} layers, but got {type(layer).__name__}; register it with "
        "fsl_explain.heads.linearization.stages_of, or use method='lafam', which ignores the head."
    )


def whatever_enters(stages: Callable[..., list[Stage]]) -> Callable[..., list[Stage]]:
    """Say that a layer's stages are the same for all values, so that none need be computed for them."""
    WHATEVER_ENTERS.add(stages)
    return stages


def takes_whatever_enters(head: nn.Module) -> bool:
    """Whether a head is the same linear layer at all values."""
    return all(stages_of.dispatch(type(layer)) in WHATEVER_ENTERS for layer in layers_of([head]))


def stages_along(
    layers: Sequence[nn.Module], values: Float[Tensor, "*batch channel"], known: Mapping[nn.Module, Tensor] = NOTHING
) -> list[Stage]:
    """Return the stages of layers behind each other at the values that enter them.

    A layer is applied where one behind it needs what leaves it, and what enters that is not ``known``.
    """
    return _along(layers, values, known)[0]


def chain_of(
    layers: Sequence[nn.Module], values: Float[Tensor, "*batch channel"]
) -> tuple[list[Stage], Float[Tensor, "*batch out"]]:
    """Return the stages of layers behind each other at the values that enter them, and what leaves them."""
    stages, last, entering = _along(layers, values, NOTHING)
    return stages, applied(last, entering)


def _along(
    layers: Sequence[nn.Module], values: Tensor, known: Mapping[nn.Module, Tensor]
) -> tuple[list[Stage], list[Stage], Tensor]:
    """Return the stages, those of the layers that were not applied, and the values that enter these."""
    stages: list[Stage] = []
    ahead: list[Stage] = []
    for layer in layers_of(layers):
        if layer in known:
            values, ahead = known[layer], []
        elif stages_of.dispatch(type(layer)) not in WHATEVER_ENTERS:
            values, ahead = applied(ahead, values), []
        found = stages_of(layer, values)
        stages += found
        ahead += found
    return stages, ahead, values


def layers_of(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Go through layers behind each other, those of chains among them."""
    for layer in layers:
        if type(layer) is nn.Sequential:
            yield from layers_of(layer)
        else:
            yield layer


def applied(stages: Sequence[Stage], values: Tensor) -> Tensor:
    """Apply frozen layers behind each other."""
    for stage in stages:
        values = stage.forward(values)
    return values


@stages_of.register
def _(layer: nn.Sequential, values: Tensor) -> list[Stage]:
    return stages_along(list(layer), values)


@stages_of.register(nn.Identity)
@stages_of.register(nn.Dropout)
@stages_of.register(nn.Flatten)
@whatever_enters
def _(layer: nn.Module, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return []


@stages_of.register
@whatever_enters
def _(layer: nn.Linear, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Dense(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())]


@stages_of.register
def _(layer: L2Normalize, values: Tensor) -> list[Stage]:  # noqa: ARG001
    norm = length(values)[..., None]
    return [Diagonal((1 / torch.where(norm > 0, norm, 1)).expand_as(values))]


@stages_of.register
def _(layer: Center, values: Tensor) -> list[Stage]:
    return [Diagonal(torch.ones_like(values), -layer.mean.to(values.dtype))]


@stages_of.register
def _(layer: Power, values: Tensor) -> list[Stage]:
    above = values > 0
    return [Diagonal(torch.where(above, torch.where(above, values, 1).pow(layer.beta - 1), 0))]


@stages_of.register
def _(layer: nn.BatchNorm1d, values: Tensor) -> list[Stage]:
    if layer.running_var is None or layer.running_mean is None:
        raise Mistake("expected a BatchNorm1d head with running statistics, but got one that tracks none.")
    gain = (layer.running_var.to(values.dtype) + layer.eps).rsqrt()
    if layer.affine:
        gain = gain * layer.weight.detach().to(values)
    shift = -gain * layer.running_mean.to(values.dtype)
    return [Diagonal(gain.expand_as(values), shift + layer.bias.detach().to(values) if layer.affine else shift)]


@stages_of.register
def _(layer: nn.LayerNorm, values: Tensor) -> list[Stage]:
    if layer.normalized_shape != values.shape[-1:]:
        raise Mistake(
            f"expected a LayerNorm over the {values.shape[-1]} channels alone, but got one over the shape "
            f"{tuple(layer.normalized_shape)}; give it that number."
        )
    gain = (values.var(dim=-1, correction=0, keepdim=True) + layer.eps).rsqrt()
    gain = gain.expand_as(values) if layer.weight is None else gain * layer.weight.detach().to(values)
    return [MeanFree(), Diagonal(gain, None if layer.bias is None else layer.bias.detach().to(values))]


@stages_of.register
def _(layer: nn.RMSNorm, values: Tensor) -> list[Stage]:
    eps = torch.finfo(values.dtype).eps if layer.eps is None else layer.eps
    gain = (values.square().mean(dim=-1, keepdim=True) + eps).rsqrt().expand_as(values)
    return [Diagonal(gain if layer.weight is None else gain * layer.weight.detach().to(values))]


@stages_of.register
def _(layer: nn.ReLU, values: Tensor) -> list[Stage]:  # noqa: ARG001
    return [Diagonal((values > 0).to(values.dtype))]


@stages_of.register
def _(layer: nn.LeakyReLU, values: Tensor) -> list[Stage]:
    return [Diagonal(torch.where(values > 0, torch.ones_like(values), layer.negative_slope))]


@stages_of.register
def _(layer: nn.PReLU, values: Tensor) -> list[Stage]:
    return [Diagonal(torch.where(values > 0, torch.ones_like(values), layer.weight.detach().to(values)))]


@stages_of.register(nn.ELU)
@stages_of.register(nn.GELU)
@stages_of.register(nn.Hardswish)
@stages_of.register(nn.Sigmoid)
@stages_of.register(nn.SiLU)
@stages_of.register(nn.Softplus)
@stages_of.register(nn.Tanh)
def _(layer: nn.Module, values: Tensor) -> list[Stage]:
    return [secant_gains(layer, values)]


def secant_gains(layer: Callable[[Tensor], Tensor], values: Float[Tensor, "*batch channel"]) -> Diagonal:
    """Return the secant gains (φ(x) - φ(0))/x with φ(0) as the bias, so that the stage gives φ(x) itself.

    Nearer to 0 than √ε the gain is that at ±√ε, the derivative but for √ε; times x, it is off by ε.
    """
    points = values.abs().clamp(min=torch.finfo(values.dtype).eps ** 0.5).copysign(values)
    plain = not isinstance(layer, nn.Module) or next(layer.parameters(), None) is None  # the same for all channels
    at_zero = layer(values.new_zeros(1, 1 if plain else values.shape[-1])).detach()[0]
    at_points = layer(points.clone()).detach()  # a copy, for layers that work in place
    if not at_zero.any():
        return Diagonal(at_points / points)
    return Diagonal((at_points - at_zero) / points, at_zero.expand(values.shape[-1]))
