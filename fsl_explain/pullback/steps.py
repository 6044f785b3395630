"""The steps of a forward pass, and how each hands the relevance of what it made back to what it was made of.

Every step keeps the sum: a function of single values hands it on, a sum splits it by the sizes of its terms, a
multiplier that gates is a constant, a maximum belongs to the value that was the largest. Linear layers split it by the
rule that was chosen. Relevance has one more leading factor than the values: queries × images.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fsl_explain.devices import in_full_precision
from fsl_explain.pullback.places import Place
from fsl_explain.pullback.rules import PullbackRule


@dataclass(frozen=True)
class Maker:
    """Which operation of a forward pass made a tensor, and as which of its outcomes."""

    call: int
    operation: str
    outcome: int


@dataclass(frozen=True, eq=False)
class Node:
    """One tensor of a forward pass: ``shape`` begins with how many rows each image has in it."""

    shape: tuple[int, ...]
    place: Place | None
    is_gate: bool = False  # made by a sigmoid or a softmax, so that as a factor it gates
    is_source: bool = False  # as fine as it is asked for: relevance ends here
    made_by: "Maker | None" = None  # None: the images themselves

    @property
    def channels(self) -> int:
        """How many channels maps of it have."""
        rows = self.place is not None and self.place.order == "rows"
        return self.shape[-1] if rows else self.shape[1]

    def sized(self, images: int) -> tuple[int, ...]:
        """Return the shape that it has for a number of images."""
        return self.shape[0] * images, *self.shape[1:]


@dataclass(frozen=True)
class Values:
    """The tensors that were kept of a batch of images, each with the images first, in full precision when read."""

    tensors: Sequence[Tensor]
    images: int

    def __getitem__(self, index: int) -> Tensor:
        """Return one as the network had it, rows of images together."""
        rows = self.tensors[index].flatten(0, 1)
        return in_full_precision(rows) if rows.is_floating_point() else rows


@dataclass(frozen=True)
class Walk:
    """What a step needs on the way back."""

    values: Values
    rule: PullbackRule
    images: int  # queries × images of the relevance

    def per_query(self, relevance: Tensor, node: Node) -> Tensor:
        """Set the queries apart: (query, image rows, …)."""
        return relevance.reshape(-1, *node.sized(self.values.images))


@dataclass(frozen=True)
class Handed:
    """What a step gives to its inputs, and what stays at its output."""

    inputs: Sequence[Tensor]
    left: Tensor | None = None


@dataclass(frozen=True)
class Step(ABC):
    """One operation of the forward pass."""

    inputs: tuple[Node, ...]
    output: Node

    @property
    def kept(self) -> tuple[int, ...]:
        """Which of the recorded values it reads on the way back."""
        return ()

    @abstractmethod
    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Hand relevance back."""


@dataclass(frozen=True)
class Handing(Step):
    """A function of single values, or a product with a constant: relevance is handed on as it is."""

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Hand it on; what one value was repeated for comes together."""
        return Handed([summed_to(relevance, self.inputs[0].sized(walk.images))])


@dataclass(frozen=True)
class Splitting(Step):
    """A sum of two terms: each gets its absolute share, half where both are zero."""

    share: int = -1  # where the share of the first is kept

    @property
    def kept(self) -> tuple[int, ...]:
        """The share of the first term."""
        return (self.share,)

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Split it value by value."""
        apart = walk.per_query(relevance, self.output)
        first = (apart * walk.values[self.share]).reshape(relevance.shape)
        sizes = [node.sized(walk.images) for node in self.inputs]
        return Handed([summed_to(first, sizes[0]), summed_to(relevance - first, sizes[1])])


@dataclass(frozen=True)
class Halving(Step):
    """A product of two factors of which neither gates: each gets half, as by their Shapley values."""

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Halve it."""
        return Handed([summed_to(relevance / 2, node.sized(walk.images)) for node in self.inputs])


@dataclass(frozen=True)
class Reshaping(Step):
    """The same values in the same order, in another shape."""

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Give it the shape of the input."""
        return Handed([relevance.reshape(self.inputs[0].sized(walk.images))])


@dataclass(frozen=True)
class Permuting(Step):
    """The dimensions in another order."""

    dims: tuple[int, ...] = ()

    def back(self, relevance: Tensor, walk: Walk) -> Handed:  # noqa: ARG002 - the signature of every step
        """Put them back in order."""
        inverse = sorted(range(len(self.dims)), key=self.dims.__getitem__)
        return Handed([relevance.permute(inverse)])


@dataclass(frozen=True)
class Moving(Step):
    """Values put elsewhere, left out or repeated, by an operation that does not look at them."""

    function: Callable[..., Any] = field(default=torch.clone)

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Put each back where it came from, by the derivative of the operation."""
        with torch.enable_grad():
            zeros = [relevance.new_zeros(node.sized(walk.images)).requires_grad_() for node in self.inputs]
            made = self.function(*zeros)
            found = torch.autograd.grad(made, zeros, relevance, create_graph=relevance.requires_grad, allow_unused=True)
        return Handed([zero if one is None else one for one, zero in zip(found, zeros, strict=True)])


@dataclass(frozen=True)
class Cropping(Step):
    """A border of a constant around the values."""

    pads: tuple[int, ...] = ()  # before and behind, of the last dimension first

    def back(self, relevance: Tensor, walk: Walk) -> Handed:  # noqa: ARG002 - the signature of every step
        """Cut the border off."""
        found = relevance
        for number, before in enumerate(self.pads[::2], start=1):
            length = relevance.shape[-number] - before - self.pads[2 * number - 1]
            found = found.narrow(-number, before, length)
        return Handed([found])


@dataclass(frozen=True)
class Choosing(Step):
    """Max pooling: the value that was the largest gets it."""

    indices: int = -1  # where its places in the plane are kept

    @property
    def kept(self) -> tuple[int, ...]:
        """Where the largest stood."""
        return (self.indices,)

    def back(self, relevance: Tensor, walk: Walk) -> Handed:
        """Put each back where the largest stood."""
        size = self.inputs[0].sized(walk.images)
        where = walk.values[self.indices].flatten(start_dim=-2)
        apart = walk.per_query(relevance, self.output).flatten(start_dim=-2)
        found = relevance.new_zeros(*apart.shape[:-1], size[-2] * size[-1])
        return Handed([found.scatter_add(-1, where.expand(apart.shape), apart).reshape(size)])


@dataclass(frozen=True)
class Refused(Step):
    """An operation that cannot be followed; it is named when relevance comes to it."""

    call: int = -1  # the number of the operation in the forward pass
    operation: str = ""

    def back(self, relevance: Tensor, walk: Walk) -> Handed:  # noqa: ARG002 - the signature of every step
        """Raise ``NotFollowed``."""
        raise NotFollowed(self.call, self.operation)


class NotFollowed(Exception):  # it is caught where the module's name can be found
    """Relevance came to an operation that cannot be followed."""

    def __init__(self, call: int, operation: str) -> None:
        """Keep which one."""
        super().__init__(operation)
        self.call: int = call
        self.operation: str = operation


def summed_to(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Sum over the dimensions that a tensor of ``size`` was repeated along."""
    return values if tuple(values.shape) == size else values.sum_to_size(size)
