"""A forward pass written down as steps, operation by operation, by watching what PyTorch is asked to compute.

Nothing of the network is changed or replaced, and no architecture is known: every operation on what depends on the
images is seen, those of functions and scripts, too. Operations at grids that are as fine as it is asked for are not
kept. What cannot be followed is kept as such, and is refused when relevance comes to it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from fsl_explain.pullback.linear_steps import rows_of
from fsl_explain.pullback.places import Grid, Place, finer_than
from fsl_explain.pullback.replay import Kept, Made, Program, Written
from fsl_explain.pullback.steps import Maker, Node, Refused, Step
from fsl_explain.pullback.watched import name_of, tensors_in


@dataclass(frozen=True)
class Fineness:
    """How fine the maps shall be: doublings of the last grid."""

    last: Grid
    detail: int

    def reached(self, grid: Grid) -> bool:
        """Say whether a grid is as fine."""
        return finer_than(grid, self.last, self.detail)

    def depth(self, grid: Grid | None) -> int:
        """Return how many doublings of the grid lie behind one of this size."""
        depth = 0
        while grid is not None and depth < self.detail and finer_than(grid, self.last, depth + 1):
            depth += 1
        return depth


class Recording(TorchDispatchMode):
    """The steps of one forward pass of placed images, and the values that they need."""

    def __init__(self, images: Tensor, fineness: Fineness, begins_at: Sequence[Node] = ()) -> None:
        """Begin with the images as the first node, or where another forward pass of this size had its sources."""
        super().__init__()  # type: ignore[no-untyped-call] # of PyTorch
        self.images: int = len(images)
        self.fineness: Fineness = fineness
        makers = [node.made_by for node in begins_at]
        self._awaited = {one.call: node for one, node in zip(makers, begins_at, strict=True) if one is not None}
        if None in makers or len(self._awaited) < len(makers):
            self._awaited = {}
        self._sleeps_until = min(self._awaited, default=0)
        self._sources = dict(self._awaited)
        self.steps: list[Step] = []
        self.values: list[Tensor] = []
        self.versions: list[tuple[Tensor, int]] = []
        self.calls: int = 0
        self._written: list[Written] | None = [] if self._awaited else None  # None: no other pass can be compared
        self._kept: list[tuple[Tensor, Kept]] = []
        self._nodes = WeakTensorKeyDictionary()
        self._maker: Maker | None = None
        if not self._awaited:
            self.mark(images, (), Place((images.shape[-2], images.shape[-1]), "maps"))

    def __torch_dispatch__(
        self, func: Any, types: tuple[type, ...], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute, and write down what was done to tensors that depend on the images."""
        given = kwargs or {}
        self.calls += 1
        if self.calls in self._awaited:
            return self._begin(func(*args, **given), func)
        if self.calls < self._sleeps_until:
            return func(*args, **given)
        inputs = tensors_in((*args, *given.values()))
        followed = [one for one in inputs if one in self._nodes]
        if not followed:
            return func(*args, **given)
        call = Call(self, func, args, given, followed, [self._nodes[one] for one in followed], self.calls)
        self._maker = Maker(*call.names, 0)
        arguments = ((), {}) if self._written is None else (self._noted(args), self._noted(given))
        recorder = recorder_of(func)
        before = recorder(call) if recorder is not None else None
        outcome = func(*args, **given)
        if func._schema.is_mutable:
            self._lose_bases(call)
        if before is None:
            self.refuse(call, outcome)
        else:
            before(outcome)
        if self._written is not None:
            self._note(func, arguments, inputs, tensors_in((outcome,)))
        return outcome

    def program(self, last: Node, needed: tuple[int, ...]) -> Program | None:
        """Return what another forward pass is compared with, None where it could not be."""
        if self._written is None or not self._sources:
            return None
        return Program(self._sources, tuple(self._written), last, needed)

    def _noted(self, found: Any) -> Any:
        """Put nodes in the place of tensors that are followed."""
        if isinstance(found, Tensor):
            node = self._nodes.get(found)
            return found if node is None else node
        if isinstance(found, dict):
            return {name: self._noted(one) for name, one in found.items()}
        return (
            tuple(self._noted(one) for one in found) if isinstance(found, list | tuple) and tensors_in(found) else found
        )

    def _note(
        self,
        func: Any,
        given: tuple[tuple[Any, ...], dict[str, Any]],
        inputs: Sequence[Tensor],
        outcomes: Sequence[Tensor],
    ) -> None:
        """Write down the operation itself, and where the values that it keeps are found."""
        places = {id(one): place for place, one in reversed(list(enumerate((*inputs, *outcomes))))}
        kept = [one._replace(place=places.get(id(tensor), -1)) for tensor, one in self._kept]
        self._kept.clear()
        if self._written is None or any(one.place < 0 and one.made is None for one in kept):
            self._written = None
            return
        nodes = tuple(self._nodes.get(one) for one in outcomes)
        self._written.append(Written(func, *given, nodes, tuple(kept)))

    @property
    def has_begun(self) -> bool:
        """Whether all sources were found where they were in the other forward pass."""
        return not self._awaited

    def _begin(self, outcome: Any, func: Any) -> Any:
        """Make a source of what was one in the other forward pass, if it is the same operation with the same shape."""
        expected = self._awaited[self.calls]
        maker = expected.made_by
        found = tensors_in((outcome,))
        if maker is not None and maker.operation == name_of(func) and maker.outcome < len(found):
            made = found[maker.outcome]
            rows = rows_of(made.shape, self.images)
            if (rows, *made.shape[1:]) == expected.shape:
                self._nodes[made] = expected
                del self._awaited[self.calls]
        return outcome

    def node(self, tensor: object) -> Node | None:
        """Return the node of a tensor that depends on the images."""
        found: Node | None = self._nodes.get(tensor) if isinstance(tensor, Tensor) else None
        return found

    def mark(
        self,
        tensor: Tensor,
        inputs: tuple[Node, ...],
        place: Place | None,
        is_gate: bool = False,
        *,
        outcome: int = 0,
    ) -> Node:
        """Make the node of a tensor, the only outcome of an operation or the one of a number.

        It is where relevance ends, if its grid is as fine as it is asked for.
        """
        rows = rows_of(tensor.shape, self.images)
        shape = (0, *tensor.shape[1:]) if rows is None else (rows, *tensor.shape[1:])
        ends = place is not None and self.fineness.reached(place.grid)
        maker = None if self._maker is None or not inputs else replace(self._maker, outcome=outcome)
        node = Node(shape, place, is_gate, is_source=ends or not inputs, made_by=maker)
        self._nodes[tensor] = node
        return node

    def write(self, step: Step) -> None:
        """Keep a step, unless relevance ends at what it makes."""
        if not step.output.is_source:
            self.steps.append(step)

    def keep(self, tensor: Tensor, *, may_change: bool = False, made: Made | None = None) -> int:
        """Keep a tensor with the images first; return its number.

        ``made`` makes it of an operation's arguments, where it is none of them and no outcome.
        """
        rows = rows_of(tensor.shape, self.images)
        assert rows is not None  # only of nodes that have images first
        if may_change:
            self.versions.append((tensor, tensor._version))
        self.values.append(tensor.detach().unflatten(0, (self.images, rows)))
        self._kept.append((tensor, Kept(len(self.values) - 1, -1, made, may_change)))
        return len(self.values) - 1

    def refuse(self, call: "Call", outcome: Any) -> None:
        """Keep an operation as one that cannot be followed."""
        for made in tensors_in((outcome,)):
            if made.is_floating_point():
                self.steps.append(Refused(tuple(call.nodes), self.mark(made, tuple(call.nodes), None), *call.names))

    def _lose_bases(self, call: "Call") -> None:
        """Where a view is overwritten, what it is a view of has other values than were written down."""
        for argument, given in zip(call.func._schema.arguments, call.args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            base = given._base if written and isinstance(given, Tensor) else None
            if base is not None and base in self._nodes:
                self.steps.append(Refused((), self.mark(base, (self._nodes[base],), None), *call.names))
                self._written = None


@dataclass(frozen=True)
class Call:
    """One operation on tensors that depend on the images, before it is computed."""

    recording: Recording
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    followed: list[Tensor]
    nodes: list[Node]
    number: int

    @property
    def names(self) -> tuple[int, str]:
        """Its number in the forward pass, and what PyTorch calls it."""
        return self.number, name_of(self.func)

    @property
    def has_images_first(self) -> bool:
        """Whether all that it reads has images first."""
        return all(node.shape[0] > 0 for node in self.nodes)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """All arguments by the names of PyTorch's own schema, defaults included."""
        names, defaults = _schema_of(self.func)
        return {**defaults, **dict(zip(names, self.args, strict=False)), **self.kwargs}


Finish = Callable[[Any], None]
Recorder = Callable[[Call], Finish | None]
_RECORDERS: dict[Any, Recorder] = {}


def records(*operations: str) -> Callable[[Recorder], Recorder]:
    """Say that a function writes down operations of PyTorch by name; it is called before they are computed.

    It returns what is to be done with the outcome, or None where the operation cannot be followed.
    """

    def put(recorder: Recorder) -> Recorder:
        for name in operations:
            packet = getattr(torch.ops.aten, name, None)  # a release of PyTorch may lack one
            if packet is not None:
                _RECORDERS[packet] = recorder
        return recorder

    return put


FALLBACKS: list[Recorder] = []
"""What is tried, in this order, for operations without a recorder of their own."""


def recorder_of(func: Any) -> Recorder | None:
    """Return who writes down an operation."""
    found = _RECORDERS.get(func.overloadpacket)
    return found if found is not None else _fallback


def _fallback(call: Call) -> Finish | None:
    for recorder in FALLBACKS:
        finish = recorder(call)
        if finish is not None:
            return finish
    return None


@lru_cache(maxsize=512)
def _schema_of(func: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of an operation's arguments, and the values of those that have a default."""
    schema = func._schema.arguments
    return tuple(one.name for one in schema), {one.name: one.default_value for one in schema if one.has_default_value()}


@contextmanager
def recorded(images: Tensor, fineness: Fineness, begins_at: Sequence[Node] = ()) -> Iterator[Recording]:
    """Write down what is computed of placed images while the block runs, from given sources on where there are any."""
    recording = Recording(images, fineness, begins_at)
    with recording:
        yield recording
