"""Operations that put values elsewhere: other shapes, other orders, parts, and parts put together."""

from collections.abc import Callable

import torch
from torch import Tensor

from fsl_explain.pullback.operations.outcomes import again, as_before, common_place
from fsl_explain.pullback.recording import Call, Finish, records
from fsl_explain.pullback.steps import Cropping, Moving, Permuting, Reshaping


@records("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten", "_reshape_copy", "unflatten")
def _reshape(call: Call) -> Finish | None:
    if not call.has_images_first:
        return None

    def finish(outcome: Tensor) -> None:
        node, recording = call.nodes[0], call.recording
        output = recording.mark(outcome, (node,), as_before(node, outcome, call), node.is_gate)
        recording.write(Reshaping((node,), output))

    return finish


@records("permute", "transpose", "t")
def _permutation(call: Call) -> Finish | None:
    values, node = call.args[0], call.nodes[0]
    dim = values.dim()
    if call.names[1] == "permute":
        dims = tuple(one % dim for one in call.args[1])
    else:
        first, second = (0, 1) if call.names[1] == "t" else (call.args[1] % dim, call.args[2] % dim)
        order = list(range(dim))
        order[first], order[second] = order[second], order[first]
        dims = tuple(order)
    if dims[0] != 0:
        return None

    def finish(outcome: Tensor) -> None:
        place = None if node.place is None else node.place.permuted(dims, dim)
        output = call.recording.mark(outcome, (node,), place, node.is_gate)
        call.recording.write(Permuting((node,), output, dims))

    return finish


@records("cat")
def _concatenation(call: Call) -> Finish | None:
    tensors, dim = call.args[0], call.arguments["dim"] % call.args[0][0].dim()
    rows = {node.shape[0] for node in call.nodes}
    if dim == 0 or not call.has_images_first or len(rows) != 1:
        return None
    join = _joining([one.shape[dim] for one in tensors], [call.recording.node(one) is not None for one in tensors], dim)

    def finish(outcome: Tensor) -> None:
        place = common_place(call.nodes, outcome, call)
        output = call.recording.mark(outcome, tuple(call.nodes), place, all(node.is_gate for node in call.nodes))
        call.recording.write(Moving(tuple(call.nodes), output, join))

    return finish


@records("stack")
def _stacking(call: Call) -> Finish | None:
    tensors = call.args[0]
    dim = call.arguments["dim"] % (tensors[0].dim() + 1)
    if dim == 0 or not call.has_images_first or len(call.nodes) < len(tensors):
        return None

    def finish(outcome: Tensor) -> None:
        output = call.recording.mark(outcome, tuple(call.nodes), None, all(node.is_gate for node in call.nodes))
        call.recording.write(Moving(tuple(call.nodes), output, lambda *parts: torch.stack(parts, dim=dim)))

    return finish


def _joining(sizes: list[int], followed: list[bool], dim: int) -> Callable[..., Tensor]:
    """Return the concatenation of the tensors that are followed, with zeros in the place of the others."""

    def join(*parts: Tensor) -> Tensor:
        left, like = list(parts), parts[0]
        pieces = [
            left.pop(0) if one else like.new_zeros(*like.shape[:dim], size, *like.shape[dim + 1 :])
            for size, one in zip(sizes, followed, strict=True)
        ]
        return torch.cat(pieces, dim=dim)

    return join


@records(
    "slice", "select", "split", "split_with_sizes", "chunk", "unbind", "constant_pad_nd", "roll", "flip",
    "pixel_unshuffle", "pixel_shuffle", "reflection_pad2d", "replication_pad2d", "narrow", "channel_shuffle",
    "native_channel_shuffle", "index_select",
)  # fmt: skip
def _move(call: Call) -> Finish | None:
    rest = list(call.args[1:])
    if len(call.nodes) != 1 or not call.has_images_first or _moves_images(call):
        return None

    if call.names[1] == "constant_pad_nd" and min(call.args[1], default=0) >= 0:
        return _border(call)

    def finish(outcome: Tensor | list[Tensor]) -> None:
        node, several = call.nodes[0], isinstance(outcome, list | tuple)
        for number, made in enumerate(outcome if several else [outcome]):
            place = as_before(node, made, call)  # lost by a border or a cut, which move the cells
            output = call.recording.mark(made, (node,), place, node.is_gate, outcome=number)
            call.recording.write(Moving((node,), output, again(call, rest, number if several else None)))

    return finish


def _border(call: Call) -> Finish:
    def finish(outcome: Tensor) -> None:
        node = call.nodes[0]
        output = call.recording.mark(outcome, (node,), as_before(node, outcome, call), node.is_gate)
        call.recording.write(Cropping((node,), output, tuple(call.args[1])))

    return finish


def _moves_images(call: Call) -> bool:
    given, dims = call.arguments, call.followed[0].dim()
    named = given.get("dim", given.get("dims"))
    if named is None:
        return False
    listed = named if isinstance(named, list | tuple) else [named]
    if any(dim % dims == 0 for dim in listed):
        whole = (
            call.names[1] == "slice"
            and given["start"] in (None, 0)
            and (given["end"] or 0) >= call.followed[0].shape[0]
            and given["step"] == 1
        )
        return not whole
    return False
