"""A forward pass of which another one of the same size was written down: the same operations are only recognized.

Every operation on what lies behind the sources is compared with the one that was written down in its place: the same
function, of the same tensors in the same places, with equal options. Where all are the same the way back is the same,
too, and the values that it reads are taken as the operations pass by. Where one differs nothing is taken, and the pass
has to be written down itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from fsl_explain.pullback.steps import Node
from fsl_explain.pullback.watched import name_of, tensors_in

Made = Callable[[tuple[Any, ...], dict[str, Any]], Tensor]


class Kept(NamedTuple):
    """One value that an operation keeps: where it stands among the tensors, or how it is made before they change."""

    number: int
    place: int = -1  # among the tensors that go into the operation, and behind these those that come out
    made: Made | None = None
    may_change: bool = False  # whether the way back would read another value if it were overwritten


class Written(NamedTuple):
    """One operation on what is followed, as it was written down; nodes stand in the place of tensors followed."""

    func: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    outcomes: tuple[Node | None, ...]
    kept: tuple[Kept, ...]


@dataclass(frozen=True)
class Program:
    """All operations on what is followed from the sources to the last maps, in their order."""

    sources: dict[int, Node]  # by the number of the operation in the forward pass
    written: tuple[Written, ...]
    last: Node
    needed: tuple[int, ...]  # the values that the way back reads


class Replay(TorchDispatchMode):
    """Compares one forward pass with a program, and takes the values."""

    def __init__(self, program: Program, images: int) -> None:
        """Begin before the first operation."""
        super().__init__()  # type: ignore[no-untyped-call] # of PyTorch
        self.program: Program = program
        self.images: int = images
        self.calls: int = 0
        self.done: int = 0
        self.differs: bool = False
        self._begins, self._awaited = min(program.sources), len(program.sources)
        self._nodes = WeakTensorKeyDictionary()
        self._needed = frozenset(program.needed)
        self._values: dict[int, Tensor] = {}
        self._versions: list[tuple[Tensor, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: tuple[type, ...], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute, and take what is to be kept if it is the operation that was written down."""
        given = kwargs or {}
        self.calls += 1
        if self.calls < self._begins or self.differs:
            return func(*args, **given)
        source = self.program.sources.get(self.calls)
        if source is not None:
            return self._begin(source, func, func(*args, **given))
        expected = self.program.written[self.done] if self.done < len(self.program.written) else None
        if expected is not None and self._is_same(expected, func, args, given):
            return self._pass(expected, args, given)
        self.differs = any(one in self._nodes for one in tensors_in((*args, *given.values())))
        return func(*args, **given)

    def values(self, maps: Tensor) -> tuple[Tensor, ...] | None:
        """Return the values that the way back from these maps reads, None where anything was different."""
        if self.differs or self._awaited or self._nodes.get(maps) is not self.program.last:
            return None
        if any(kept._version != version for kept, version in self._versions):
            return None
        return tuple(self._values[number] for number in self.program.needed)

    def _begin(self, source: Node, func: Any, outcome: Any) -> Any:
        found, maker = tensors_in((outcome,)), source.made_by
        if (
            maker is None
            or maker.operation != name_of(func)
            or maker.outcome >= len(found)
            or tuple(found[maker.outcome].shape) != source.sized(self.images)
        ):
            self.differs = True
        else:
            self._nodes[found[maker.outcome]] = source
            self._awaited -= 1
        return outcome

    def _pass(self, expected: Written, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        taken = [one for one in expected.kept if one.number in self._needed]
        made = {one.number: one.made(args, options) for one in taken if one.made is not None}
        outcome = expected.func(*args, **options)
        outcomes = tensors_in((outcome,))
        for tensor, node in zip(outcomes, expected.outcomes, strict=True):
            if node is not None:
                self._nodes[tensor] = node
        for one in taken:
            found = [*tensors_in((*args, *options.values())), *outcomes]
            value = made[one.number] if one.made is not None else found[one.place]
            self._values[one.number] = value.detach().unflatten(0, (self.images, -1))
            if one.may_change:
                self._versions.append((value, value._version))
        self.done += 1
        return outcome

    def _is_same(self, expected: Written, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
        return (
            expected.func is func
            and len(expected.arguments) == len(args)
            and all(map(self._same, expected.arguments, args))
            and expected.options.keys() == options.keys()
            and all(self._same(one, options[name]) for name, one in expected.options.items())
        )

    def _same(self, expected: Any, given: Any) -> bool:
        """Say whether an argument is the one that was written down: of tensors the same node, object or memory."""
        if isinstance(given, Tensor):
            if isinstance(expected, Tensor):
                return expected is given or (_is_same_memory(expected, given) and given not in self._nodes)
            is_same = isinstance(expected, Node) and self._nodes.get(given) is expected
            return is_same and tuple(given.shape) == expected.sized(self.images)
        if isinstance(given, list | tuple) and tensors_in(given):
            return isinstance(expected, tuple) and len(expected) == len(given) and all(map(self._same, expected, given))
        return type(expected) is type(given) and bool(expected == given)


def _is_same_memory(first: Tensor, second: Tensor) -> bool:
    """Say whether two tensors, such as the transposed weights of a layer, are the same numbers read in one order."""
    return (
        first.layout == second.layout == torch.strided
        and (first.dtype, first.device, first.shape) == (second.dtype, second.device, second.shape)
        and first.stride() == second.stride()
        and first.data_ptr() == second.data_ptr() != 0
    )
