"""Linear layers as steps: convolutions, matrix products, averages and resizing, and batch normalization."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fsl_explain.devices import in_full_precision, precise
from fsl_explain.pullback.rules import LinearLayer
from fsl_explain.pullback.steps import Handed, NotFollowed, Step, Walk

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Operation:
    """A product that is linear in the values, by rows of images."""

    forward: Callable[[Tensor, Tensor | None], Tensor]
    backward: Callable[[Tensor, Tensor | None, tuple[int, ...]], Tensor]  # with the size of the values
    bias_dims: int = 0  # dimensions behind that of the bias


@dataclass(frozen=True)
class Linear(Step):
    """A linear layer."""

    operation: Operation = None  # type: ignore[assignment]
    values: int = -1
    weight: Tensor | None = None  # of the network, as it is when relevance comes
    kept_weight: int | None = None  # of the image: a gate that mixes
    bias: Tensor | None = None
    normalization: "Normalization | None" = None  # behind it, as one layer with it
    depth: int = 0
    call: int = -1
    name: str = ""

    @property
    def kept(self) -> tuple[int, ...]:
        """The values it read, and the gate that it mixed them with."""
        return (self.values,) if self.kept_weight is None else (self.values, self.kept_weight)

    def with_normalization(self, normalization: "Normalization", output: Any) -> "Linear":
        """Return the layer and the batch normalization behind it as one."""
        return replace(self, normalization=normalization, output=output)

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Split it by the rule."""
        layer = self._layer(walk)
        split = walk.rule.split(layer, walk.per_query(relevance, self.output))
        inputs = [split.inputs.reshape(self.inputs[0].sized(walk.images))]
        if split.left is None:
            return Handed(inputs)
        if self.output.place is None and bool((split.left != 0).any()):
            raise NotFollowed(self.call, self.name)
        return Handed(inputs, split.left.reshape(relevance.shape))

    def _layer(self, walk: Walk) -> LinearLayer:
        values = walk.values[self.values]
        folded = None if not walk.rule.reads_biases or self.normalization is None else self.normalization
        gain, shift = (None, None) if folded is None else folded.gain_and_shift()
        weight = self._weight(walk, values, gain)
        bias = self._bias(values, gain, shift) if walk.rule.reads_biases else None
        operation = self.operation

        def backward(factor: Tensor, weight: Tensor | None) -> Tensor:
            flat = factor.reshape(-1, *factor.shape[2:])
            size = (len(flat), *values.shape[1:])
            return operation.backward(flat, weight, size).reshape(len(factor), *values.shape)

        return LinearLayer(values, weight, bias, operation.forward, backward, self.depth)

    def _weight(self, walk: Walk, values: Tensor, gain: Tensor | None) -> Tensor | None:
        if self.kept_weight is not None:
            return walk.values[self.kept_weight].to(values)
        if self.weight is None:
            return None
        weight = in_full_precision(self.weight.detach()).to(values.device)
        return weight if gain is None else weight * gain.to(weight).reshape(-1, *[1] * (weight.dim() - 1))

    def _bias(self, values: Tensor, gain: Tensor | None, shift: Tensor | None) -> Tensor | None:
        if self.bias is None and shift is None:
            return None
        bias = torch.zeros((), dtype=values.dtype, device=values.device) if self.bias is None else self.bias.detach()
        bias = bias.to(values)
        if gain is not None and shift is not None:
            bias = bias * gain.to(values) + shift.to(values)
        return bias.reshape(-1, *[1] * self.operation.bias_dims)


@dataclass(frozen=True)
class Normalizing(Step):
    """Batch normalization in eval mode: a gain and a shift of each channel; under some rules a layer."""

    values: int = -1
    normalization: "Normalization" = None  # type: ignore[assignment]
    depth: int = 0

    @property
    def kept(self) -> tuple[int, ...]:
        """The values it read."""
        return (self.values,)

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Split it between value and shift."""
        values = walk.values[self.values]
        shape = (1, -1, *[1] * (values.dim() - 2))
        gain, shift = (part.to(values).reshape(shape) for part in self.normalization.gain_and_shift())
        layer = LinearLayer(values, gain, shift, _times, _times, self.depth)
        split = walk.rule.split(layer, walk.per_query(relevance, self.output))
        left = None if split.left is None else split.left.reshape(relevance.shape)
        return Handed([split.inputs.reshape(relevance.shape)], left)


def _times(values: Tensor, gain: Tensor | None) -> Tensor:
    assert gain is not None  # a normalization has one
    return values * gain


@dataclass(frozen=True)
class Normalization:
    """What batch normalization in eval mode reads of the network."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    epsilon: float

    def gain_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return it as one gain and one shift a channel, in float64."""
        gain = (precise(self.variance) + self.epsilon).rsqrt()
        if self.weight is not None:
            gain = gain * precise(self.weight.detach())
        shift = -precise(self.mean) * gain
        return gain, shift if self.bias is None else shift + precise(self.bias.detach())


def convolution(
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Operation:
    """Return a convolution, of any number of dimensions, with these settings."""

    def forward(values: Tensor, weight: Tensor | None) -> Tensor:
        found: Tensor = aten.convolution(
            values, weight, None, stride, padding, dilation, transposed, output_padding, groups
        )
        return found

    is_plain = groups == 1 and set(stride) == {1} and not any(padding)

    def backward(factor: Tensor, weight: Tensor | None, size: tuple[int, ...]) -> Tensor:
        if transposed or factor.requires_grad:
            return derivative(lambda values: forward(values, weight), factor, size)
        if is_plain and weight is not None and set(weight.shape[2:]) == {1}:  # a product with a matrix, cell by cell
            return (factor.movedim(1, -1) @ weight.flatten(start_dim=1)).movedim(-1, 1)
        is_last = factor.dim() == 4 and factor.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format  # that of what comes out
        like = torch.empty(size, dtype=factor.dtype, device=factor.device, memory_format=layout)
        options = (stride, padding, dilation, transposed, output_padding, groups, (True, False, False))
        found: Tensor = aten.convolution_backward(factor, like, weight, None, *options)[0]
        return found

    return Operation(forward, backward, len(stride))


def times_matrix() -> Operation:
    """Return the product of rows of values with a matrix."""

    def forward(values: Tensor, weight: Tensor | None) -> Tensor:
        assert weight is not None  # the matrix
        return values @ weight

    def backward(factor: Tensor, weight: Tensor | None, size: tuple[int, ...]) -> Tensor:
        assert weight is not None  # the matrix
        if weight.dim() == 2:
            return factor @ weight.mT
        apart = factor.reshape(-1, *weight.shape[:-2], *factor.shape[-2:])
        return (apart @ weight.mT).reshape(size)

    return Operation(forward, backward)


def mixed_by_matrix() -> Operation:
    """Return the product of a matrix, of the image, with its values."""

    def forward(values: Tensor, weight: Tensor | None) -> Tensor:
        assert weight is not None  # the matrix
        return weight @ values

    def backward(factor: Tensor, weight: Tensor | None, size: tuple[int, ...]) -> Tensor:
        assert weight is not None  # the matrix
        apart = factor.reshape(-1, *weight.shape[:-2], *factor.shape[-2:])
        return (weight.mT @ apart).reshape(size)

    return Operation(forward, backward)


def averaging(function: Callable[[Tensor], Tensor]) -> Operation:
    """Return an operation whose weights are positive and part of it, such as a mean or bilinear resizing."""
    return Operation(
        lambda values, _weight: function(values),
        lambda factor, _weight, size: derivative(function, factor, size),
    )


def derivative(function: Callable[[Tensor], Tensor], factor: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return Σ_j w_ij s_j of a linear function, from its derivative."""
    with torch.enable_grad():
        zeros = factor.detach().new_zeros(size).requires_grad_()
        made = function(zeros)
        (found,) = torch.autograd.grad(made, zeros, factor.reshape(made.shape), create_graph=factor.requires_grad)
    return found


def rows_of(shape: Sequence[int], images: int) -> int | None:
    """Return how many rows of a tensor each image has, None where its first dimension is not that of images."""
    if len(shape) == 0 or images == 0 or shape[0] % images or math.prod(shape) == 0:
        return None
    return shape[0] // images
