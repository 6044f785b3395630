"""Operations value by value: sums, products, quotients, and functions of single values."""

from typing import Any

import torch
from torch import Tensor

from fsl_explain.pullback.operations.outcomes import common_place, handed
from fsl_explain.pullback.recording import FALLBACKS, Call, Finish, records
from fsl_explain.pullback.steps import Halving, Node, Refused, Splitting


@records("add", "add_", "sub", "sub_")
def _sum(call: Call) -> Finish | None:
    if len(call.nodes) == 1:
        return lambda outcome: handed(call, 0, outcome)
    if len(call.nodes) != 2 or not call.has_images_first:
        return None
    recording, alpha = call.recording, float(call.arguments.get("alpha", 1))
    if recording.node(call.args[0]) is recording.node(call.args[1]):
        return lambda outcome: handed(call, 0, outcome)

    def share_of(args: tuple[Any, ...], _options: object) -> Tensor:
        return _share_of_first(args[0], args[1], alpha)

    share = share_of(call.args, {})

    def finish(outcome: Tensor) -> None:
        output = recording.mark(outcome, tuple(call.nodes), common_place(call.nodes, outcome, call))
        if not output.is_source:
            kept = recording.keep(share, made=share_of)
            recording.write(Splitting((call.nodes[0], call.nodes[1]), output, kept))

    return finish


def _share_of_first(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    """Return |x| / (|x| + |αy|), half where both are zero."""
    size = first.abs()
    whole = size + second.abs() * abs(alpha)
    nothing = whole == 0
    if not bool(nothing.any()):
        return size / whole
    return torch.where(nothing, 0.5, size / torch.where(nothing, 1, whole))


@records("mul", "mul_")
def _multiplication(call: Call) -> Finish | None:
    if len(call.nodes) == 1:
        return lambda outcome: handed(call, 0, outcome)
    if len(call.nodes) != 2:
        return None
    if call.nodes[0] is call.nodes[1]:
        return lambda outcome: handed(call, 0, outcome)
    gating = _gating(call.followed, call.nodes)
    if gating is not None:
        return lambda outcome: handed(call, 1 - gating, outcome)
    recording = call.recording

    def finish(outcome: Tensor) -> None:
        output = recording.mark(outcome, tuple(call.nodes), common_place(call.nodes, outcome, call))
        recording.write(Halving(tuple(call.nodes), output))

    return finish


def _gating(factors: list[Tensor], nodes: list[Node]) -> int | None:
    """Return which of two factors gates the other: the one that is repeated, or that a sigmoid or softmax made."""
    sizes = [one.numel() for one in factors]
    if sizes[0] != sizes[1]:
        return 0 if sizes[0] < sizes[1] else 1
    gates = [node.is_gate for node in nodes]
    return gates.index(True) if sum(gates) == 1 else None


@records("div", "div_")
def _division(call: Call) -> Finish | None:
    numerator = call.recording.node(call.args[0])
    if numerator is None:
        return None
    return lambda outcome: handed(call, 0, outcome)


@records("_softmax")
def _softmax(call: Call) -> Finish | None:
    """Write down what is a gate as a factor, and else cannot be followed."""
    recording = call.recording

    def finish(outcome: Tensor) -> None:
        output = recording.mark(outcome, tuple(call.nodes), None, is_gate=True)
        recording.write(Refused(tuple(call.nodes), output, *call.names))

    return finish


@records("expand", "expand_copy")
def _repetition(call: Call) -> Finish | None:
    values = call.args[0]
    if not call.has_images_first:
        return None

    def finish(outcome: Tensor) -> None:
        if outcome.dim() != values.dim():
            call.recording.refuse(call, outcome)
            return
        handed(call, 0, outcome)

    return finish


def _pointwise(call: Call) -> Finish | None:
    """Hand on what a function of single values made of one tensor."""
    if len(call.nodes) != 1 or not (_is_pointwise(call) or call.names[1] in _AS_IF_POINTWISE):
        return None
    return lambda outcome: handed(call, 0, outcome)


def _is_pointwise(call: Call) -> bool:
    """Say whether an operation, or the one whose outcome it writes into its input, is one of single values."""
    packet = getattr(torch.ops.aten, call.names[1].removesuffix("_"), None)
    found = [call.func] if packet is None else [call.func, *(getattr(packet, name) for name in packet.overloads())]
    return any(torch.Tag.pointwise in one.tags for one in found)


_AS_IF_POINTWISE = (
    *("clone", "_to_copy", "contiguous", "detach", "alias", "lift_fresh", "dropout", "native_dropout", "to", "_conj"),
    *("prelu", "_prelu_kernel", "rrelu_with_noise", "hardswish", "hardswish_", "positive"),
)  # fmt: skip

FALLBACKS.append(_pointwise)
