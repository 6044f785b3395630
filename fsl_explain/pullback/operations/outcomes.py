"""Where the outcome of an operation lies, and functions of single values."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fsl_explain.pullback.places import Place
from fsl_explain.pullback.recording import Call
from fsl_explain.pullback.steps import Handing, Node

GATES = ("sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_", "tanh", "tanh_")


def of_maps(outcome: Tensor, node: Node) -> Place | None:
    """Return the place of what was made of whole maps: those of another grid."""
    if outcome.dim() != 4 or (node.place is not None and node.place.order == "rows"):
        return None
    return Place((outcome.shape[-2], outcome.shape[-1]), "maps")


def as_before(node: Node, outcome: Tensor, call: Call) -> Place | None:
    """Return the place of what was made of one tensor cell by cell, None where the shape says otherwise."""
    return None if node.place is None else node.place.of_shape(tuple(outcome.shape), call.recording.images)


def common_place(nodes: list[Node], outcome: Tensor, call: Call) -> Place | None:
    """Return the place of what was made of several tensors cell by cell."""
    places = [node.place for node in nodes if node.place is not None]
    return places[0].of_shape(tuple(outcome.shape), call.recording.images) if places else None


def handed(call: Call, which: int, outcome: Tensor) -> None:
    """Write down a function of single values of one of the tensors."""
    node, recording = call.nodes[which], call.recording
    name = call.names[1]
    place = as_before(node, outcome, call)
    output = recording.mark(outcome, (node,), place, name in GATES or (node.is_gate and len(call.nodes) == 1))
    recording.write(Handing((node,), output))


def again(call: Call, rest: list[Any], number: int | None) -> Callable[[Tensor], Tensor]:
    """Return the operation on other values, or one of the tensors that it makes; nothing of the call is held."""
    function, options = call.func, call.kwargs

    def again(values: Tensor) -> Tensor:
        made: Tensor = function(values, *rest, **options)
        return made if number is None else made[number]

    return again
