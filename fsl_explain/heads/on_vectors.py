"""Layers behind a network's pooling as layers of vectors, (batch, channel), that share its parameters."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.linearization import stages_of
from fsl_explain.heads.stages import Dense, Diagonal, Stage

POOLINGS_OF_MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AvgPool2d)
WITHOUT_EFFECT = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd, *POOLINGS_OF_MEANS)
WITHOUT_EFFECT_BY_NAME = frozenset({"SelectAdaptivePool2d", "FastAdaptiveAvgPool", "DropPath", "Permute"})
ACTIVATIONS = (
    nn.ReLU | nn.LeakyReLU | nn.PReLU | nn.ELU | nn.GELU | nn.Hardswish | nn.Sigmoid | nn.SiLU | nn.Softplus | nn.Tanh
)
ACTIVATIONS_BY_NAME: Mapping[str, Callable[[], nn.Module]] = {
    "GELU": nn.GELU,
    "GELUActivation": nn.GELU,
    "GELUTanh": lambda: nn.GELU(approximate="tanh"),
    "HardSwish": nn.Hardswish,
    "SiLU": nn.SiLU,
    "SiLUActivation": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
    "Swish": nn.SiLU,
    "Tanh": nn.Tanh,
}
"""Activations that other libraries write as classes of their own."""


class PointwiseLinear(nn.Module):
    """A convolution as large as its map applied to vectors: the linear layer that it is where it has one place.

    The values of a map of several cells stand behind each other, channel after channel.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, values: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch out"]:
        """Apply the layer. Raises: ``ValueError`` for a map of another size."""
        weight = self.convolution.weight
        if values.shape[-1] != weight[0].numel():
            side = "×".join(map(str, weight.shape[-2:]))
            raise Mistake(
                f"expected maps of {side} cells, as large as the convolution behind them, but got "
                f"{values.shape[-1]} values of {weight.shape[1]} channels; give images of the size the network was "
                "built for, or tail='ignore' where the pooled maps are meant."
            )
        return F.linear(values, weight.flatten(1), self.convolution.bias)


@stages_of.register
def _(layer: PointwiseLinear, values: Tensor) -> list[Stage]:  # noqa: ARG001
    bias = layer.convolution.bias
    return [Dense(layer.convolution.weight.detach().flatten(1), None if bias is None else bias.detach())]


class ScaledAndShifted(nn.Module):
    """x → scale x + shift with one number each, as behind the activations of HGNetV2."""

    def __init__(self, scale: nn.Parameter, shift: nn.Parameter) -> None:
        super().__init__()
        self.scale: nn.Parameter = scale
        self.shift: nn.Parameter = shift

    def forward(self, values: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Apply the layer."""
        return self.scale * values + self.shift


@stages_of.register
def _(layer: ScaledAndShifted, values: Tensor) -> list[Stage]:
    scale, shift = (one.detach().to(values).expand_as(values) for one in (layer.scale, layer.shift))
    return [Diagonal(scale, shift)]


def vector_layers(layer: nn.Module, cells: tuple[int, int] = (1, 1)) -> list[nn.Module] | None:
    """Return what a layer of a map of so many cells does, as layers of vectors; None where that is not known.

    They share parameters and statistics with it. A layer without effect behind a pooling gives none.
    """
    kind = type(layer)
    empty = isinstance(layer, nn.Sequential) and len(layer) == 0
    if empty or isinstance(layer, WITHOUT_EFFECT) or kind.__name__ in WITHOUT_EFFECT_BY_NAME:
        return []
    if isinstance(layer, nn.LayerNorm):
        return _normalization(layer)
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        return _batch_normalization(layer)
    if isinstance(layer, nn.Conv2d):
        strides = layer.stride == (1, 1) or cells != (1, 1)
        single = layer.kernel_size == cells and layer.groups == 1 and strides and layer.padding == (0, 0)
        single = single and layer.dilation == (1, 1)
        return [PointwiseLinear(layer)] if single and kind is nn.Conv2d else None
    if isinstance(layer, nn.Linear) or (isinstance(layer, ACTIVATIONS) and kind.__module__.startswith("torch.nn")):
        return [layer]
    found = _by_name(layer)
    return None if found is None else [found]


def _by_name(layer: Any) -> nn.Module | None:
    """Return a layer that other libraries write as a class of their own."""
    name = type(layer).__name__
    if name == "LearnableAffineBlock":
        return ScaledAndShifted(layer.scale, layer.bias)
    made = ACTIVATIONS_BY_NAME.get(name)
    return None if made is None else made()


def vector_head(
    layers: Iterable[nn.Module], cells: tuple[int, int] = (1, 1)
) -> tuple[nn.Module | None, nn.Module | None]:
    """Return layers behind a pooling as one head, None for no effect, and the first layer that is not known.

    With one that is not known there is no head. The first layer with an effect reads a map of so many ``cells``.
    """
    parts: list[nn.Module] = []
    for layer in layers:
        found = vector_layers(layer, (1, 1) if parts else cells)
        if found is None:
            return None, layer
        parts += found
    return (parts[0] if len(parts) == 1 else nn.Sequential(*parts)) if parts else None, None


def _normalization(layer: nn.LayerNorm) -> list[nn.Module] | None:
    if len(layer.normalized_shape) != 1:
        return None
    norm = nn.LayerNorm(layer.normalized_shape[0], eps=layer.eps)
    norm.weight, norm.bias = layer.weight, layer.bias
    return [norm]


def _batch_normalization(layer: nn.BatchNorm2d | nn.BatchNorm1d) -> list[nn.Module] | None:
    norm = nn.BatchNorm1d(layer.num_features, eps=layer.eps, momentum=layer.momentum, affine=layer.affine)
    norm.weight, norm.bias = layer.weight, layer.bias
    norm.running_mean, norm.running_var = layer.running_mean, layer.running_var
    norm.num_batches_tracked = layer.num_batches_tracked
    norm.train(layer.training)
    then = getattr(layer, "act", None)  # timm's BatchNormAct2d
    behind = [] if then is None else vector_layers(then)
    return None if behind is None else [norm, *behind]
