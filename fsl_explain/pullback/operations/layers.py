"""Linear layers: convolutions, matrix products, averages and resizing, normalizations; and max pooling."""

import torch
from torch import Tensor

from fsl_explain.pullback.linear_steps import (
    Linear,
    Normalization,
    Normalizing,
    Operation,
    averaging,
    convolution,
    mixed_by_matrix,
    times_matrix,
)
from fsl_explain.pullback.operations.outcomes import again, as_before, handed, of_maps
from fsl_explain.pullback.recording import Call, Finish, records
from fsl_explain.pullback.steps import Choosing


@records("convolution", "_convolution")
def _convolution(call: Call) -> Finish | None:
    given = call.arguments
    if call.nodes != [call.recording.node(given["input"])]:
        return None
    operation = convolution(*(given[name] for name in _OF_CONVOLUTION))
    return _linear(call, given["input"], operation, given["weight"], given["bias"], has_own_grid=True)


_OF_CONVOLUTION = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")


@records("mm", "bmm")
def _product(call: Call) -> Finish | None:
    left, right = call.args
    return _matrix_product(call, left, right, None)


@records("addmm")
def _product_and_bias(call: Call) -> Finish | None:
    bias, left, right = call.args
    if call.recording.node(bias) is not None or call.arguments["beta"] != 1 or call.arguments["alpha"] != 1:
        return None
    return _matrix_product(call, left, right, bias)


def _matrix_product(call: Call, left: Tensor, right: Tensor, bias: Tensor | None) -> Finish | None:
    of_left, of_right = call.recording.node(left), call.recording.node(right)
    if of_right is None:
        return _linear(call, left, times_matrix(), right, bias, has_own_grid=False)
    if of_left is not None and of_left.is_gate and left.dim() == 3:
        return _linear(call, right, mixed_by_matrix(), left, bias, has_own_grid=False)
    if of_left is not None and of_right.is_gate and left.dim() == 3:
        return _linear(call, left, times_matrix(), right, bias, has_own_grid=False)
    return None


@records(
    "avg_pool1d",
    "avg_pool2d",
    "_adaptive_avg_pool2d",
    "mean",
    "sum",
    "upsample_bilinear2d",
    "upsample_nearest2d",
    "_upsample_bilinear2d_aa",
    "upsample_bicubic2d",
)
def _average(call: Call) -> Finish | None:
    values, *rest = call.args
    if call.nodes[0].shape[0] != 1 and call.func.overloadpacket not in (torch.ops.aten.mean, torch.ops.aten.sum):
        return None
    if _reduces_images(call):
        return None
    operation = averaging(again(call, rest, None))
    return _linear(call, values, operation, None, None, has_own_grid=True)


def _reduces_images(call: Call) -> bool:
    dims = call.arguments.get("dim", "none")
    if dims == "none":
        return False
    listed = dims if isinstance(dims, list | tuple) else [dims]
    return dims is None or len(listed) == 0 or any(dim % call.followed[0].dim() == 0 for dim in listed)


def _linear(
    call: Call, values: Tensor, operation: Operation, weight: Tensor | None, bias: Tensor | None, has_own_grid: bool
) -> Finish | None:
    """Write down a linear layer, whose output is maps of a grid of its own or rows as they were read."""
    recording, node = call.recording, call.recording.node(values)
    if node is None or not call.has_images_first or not values.is_floating_point():
        return None

    def finish(outcome: Tensor) -> None:
        place = of_maps(outcome, node) if has_own_grid else as_before(node, outcome, call)
        output = recording.mark(outcome, (node,), place)
        if output.is_source:
            return
        mixes = weight is not None and recording.node(weight) is not None
        depth = recording.fineness.depth(None if place is None else place.grid)
        recording.write(
            Linear(
                inputs=(node,),
                output=output,
                operation=operation,
                values=recording.keep(values, may_change=True),
                weight=None if mixes else weight,
                kept_weight=recording.keep(weight, may_change=True) if mixes and weight is not None else None,
                bias=bias,
                depth=depth,
                call=call.number,
                name=call.names[1],
            )
        )

    return finish


@records(
    "native_batch_norm", "_native_batch_norm_legit_no_training", "_batch_norm_no_update", "cudnn_batch_norm",
    "miopen_batch_norm", "_batch_norm_with_update", "_native_batch_norm_legit",
)  # fmt: skip
def _batch_normalization(call: Call) -> Finish | None:
    given = call.arguments
    values, mean, variance = call.args[0], given.get("running_mean"), given.get("running_var")
    trains = given.get("training", given.get("train", False))
    if trains or mean is None or variance is None or call.nodes != [call.recording.node(values)]:
        return None
    epsilon = float(given.get("eps", given.get("epsilon", 0.0)))
    recording, node = call.recording, call.nodes[0]

    def finish(outcome: tuple[Tensor, ...]) -> None:
        output = recording.mark(outcome[0], (node,), node.place)
        if output.is_source:
            return
        normalization = Normalization(given["weight"], given["bias"], mean, variance, epsilon)
        depth = recording.fineness.depth(None if node.place is None else node.place.grid)
        recording.write(Normalizing((node,), output, recording.keep(values), normalization, depth))

    return finish


@records("native_layer_norm", "native_group_norm", "_fused_rms_norm")
def _normalization_of_the_image(call: Call) -> Finish | None:
    if call.nodes != [call.recording.node(call.args[0])]:
        return None
    return lambda outcome: handed(call, 0, outcome[0])


@records("max_pool2d_with_indices", "adaptive_max_pool2d")
def _maximum(call: Call) -> Finish | None:
    recording, node = call.recording, call.nodes[0]
    if node.shape[0] != 1 or call.followed[0].dim() != 4:
        return None

    def finish(outcome: tuple[Tensor, Tensor]) -> None:
        output = recording.mark(outcome[0], (node,), of_maps(outcome[0], node))
        if not output.is_source:
            recording.write(Choosing((node,), output, recording.keep(outcome[1])))

    return finish
