"""Heads of the same layers, such as those of a network's blocks, each frozen at values of its own, gains together."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.heads.block_layers import Elementwise
from fsl_explain.heads.linearization import (
    NOTHING,
    WHATEVER_ENTERS,
    Linearization,
    applied,
    layers_of,
    secant_gains,
    stages_of,
)
from fsl_explain.heads.stages import Diagonal, MeanFree, Stage

ENTRY_BY_ENTRY: set[type[nn.Module]] = {nn.ELU, nn.GELU, nn.Hardswish, nn.SiLU, nn.Tanh}


def linearize_each(
    heads: Sequence[nn.Module],
    pooled: Sequence[Float[Tensor, "*batch channel"]],
    known: Mapping[nn.Module, Tensor] = NOTHING,
) -> list[Linearization]:
    """Freeze each head at its own values, as ``linearize`` does; ``known`` are values that enter some of their layers.

    Raises: ``ValueError`` for a layer that is not supported.
    """
    chains = [list(layers_of([head])) for head in heads]
    stages: list[list[Stage]] = [[] for _ in heads]
    ahead: list[list[Stage]] = [[] for _ in heads]
    values = list(pooled)
    longest = max((len(chain) for chain in chains), default=0)
    for place in range(longest):
        there = [number for number, chain in enumerate(chains) if place < len(chain)]
        layers = [chains[number][place] for number in there]
        for number, layer in zip(there, layers, strict=True):
            if layer in known:
                values[number], ahead[number] = known[layer], []
            elif stages_of.dispatch(type(layer)) not in WHATEVER_ENTERS:
                values[number], ahead[number] = applied(ahead[number], values[number]), []
        found = stages_of_each(layers, [values[number] for number in there])
        for number, some in zip(there, found, strict=True):
            stages[number] += some
            ahead[number] += some
    return [Linearization(tuple(some), entering) for some, entering in zip(stages, pooled, strict=True)]


def stages_of_each(layers: Sequence[nn.Module], values: Sequence[Tensor]) -> list[list[Stage]]:
    """Return the stages of each layer at its values; those of neighbors that differ in parameters alone together."""
    found: list[list[Stage]] = []
    for alike, group in groupby(zip(layers, values, strict=True), key=lambda pair: _kind(*pair)):
        pairs = list(group)
        if alike is None or len(pairs) == 1:
            found += [stages_of(layer, entering) for layer, entering in pairs]
        else:
            found += _together([layer for layer, _ in pairs], torch.stack([entering for _, entering in pairs]))
    return found


def _kind(layer: Any, values: Tensor) -> tuple[Any, ...] | None:
    """Return what layers share whose gains are found together; None for one whose gains are found alone."""
    if type(layer) is nn.LayerNorm:
        return (
            (nn.LayerNorm, layer.normalized_shape, layer.eps, values.shape) if _is_of_channels(layer, values) else None
        )
    if isinstance(layer, Elementwise):
        inner = layer.activation
        return (Elementwise, values.shape, *(_settings(inner) if isinstance(inner, nn.Module) else (inner,)))
    return (type(layer), values.shape, *_settings(layer)) if type(layer) in ENTRY_BY_ENTRY else None


def _settings(layer: nn.Module) -> tuple[Any, ...]:
    """Return what tells an activation from others of its kind: itself where that are parameters or tensors."""
    own = {name: value for name, value in vars(layer).items() if not name.startswith("_") and name != "training"}
    tensors = any(isinstance(value, Tensor) for value in own.values()) or layer.state_dict()
    return (layer,) if tensors or any(layer.children()) else (type(layer), own)


def _is_of_channels(layer: nn.LayerNorm, values: Tensor) -> bool:
    return layer.normalized_shape == values.shape[-1:]


def _together(layers: Sequence[nn.Module], values: Float[Tensor, "layer *batch channel"]) -> Iterator[list[Stage]]:
    first: Any = layers[0]
    if not isinstance(first, nn.LayerNorm):
        stage = secant_gains(first, values)
        for gain in stage.gain.unbind():
            yield [Diagonal(gain, stage.bias)]
        return
    gains = (values.var(dim=-1, correction=0, keepdim=True) + first.eps).rsqrt()
    norms: Sequence[Any] = layers
    for layer, gain in zip(norms, gains, strict=True):
        weight, bias = (None if one is None else one.detach().to(values) for one in (layer.weight, layer.bias))
        yield [MeanFree(), Diagonal(gain.expand_as(values[0]) if weight is None else gain * weight, bias)]
