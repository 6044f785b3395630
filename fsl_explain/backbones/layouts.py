"""Which axis of a layer's output holds the channels: recognized, asked for or refused, and never guessed."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops.misc import Permute

from episodes.errors import Mistake
from episodes.naming import unknown_name

FIRST, LAST, TOKENS = "channels-first", "channels-last", "tokens"
LAYOUTS = (FIRST, LAST, TOKENS)
ORDER = {FIRST: (0, 1, 2, 3), LAST: (0, 3, 1, 2)}
ELEMENTWISE = (
    nn.Identity | nn.modules.dropout._DropoutNd | nn.ReLU | nn.LeakyReLU | nn.PReLU | nn.ELU | nn.GELU | nn.SiLU
)
OF_CHANNELS_FIRST = (
    nn.Conv2d
    | nn.ConvTranspose2d
    | nn.BatchNorm2d
    | nn.InstanceNorm2d
    | nn.GroupNorm
    | nn.MaxPool2d
    | nn.AvgPool2d
    | nn.AdaptiveAvgPool2d
    | nn.AdaptiveMaxPool2d
)
LARGEST_PROBE = 1024  # pixels of a side; larger images are probed at half their size


def checked_layout(layout: str | None) -> str | None:
    """Return a layout, or None, which is to recognize it. Raises: ``LookupError`` for an unknown one."""
    if layout is not None and layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    return layout


def expect_values(values: Any, source: str, batch: int, layout: str | None) -> Tensor:
    """Return a layer's output where it can be activation maps of a batch of images.

    Raises: ``ValueError`` for anything but one tensor of real numbers, (batch, channel, h, w) in one of the layouts.
    """
    axes = 3 if layout == TOKENS else 4
    plain = isinstance(values, Tensor) and not values.is_nested and values.layout == torch.strided
    if plain and values.dim() == axes and len(values) == batch and 0 not in values.shape[1:]:
        if values.is_floating_point() or values.is_quantized:
            found: Tensor = values
            return found
        raise Mistake(
            f"expected activation maps of real numbers from {source}, but got {values.dtype}; choose another layer."
        )
    wanted = f"({batch}, token, channel)" if layout == TOKENS else f"({batch}, channel, h, w)"
    raise Mistake(
        f"expected activation maps of shape {wanted} from {source}, but got {_described(values)}; "
        f"{_advice(values, layout)}."
    )


def in_order(values: Float[Tensor, "batch *any"], layout: str, source: str) -> Float[Tensor, "batch channel h w"]:
    """Return maps of a layout as (batch, channel, h, w); every number stays what it is.

    ``tokens`` are (batch, token, channel), row by row of a square grid.
    Raises: ``ValueError`` for tokens that make no square.
    """
    if layout != TOKENS:
        ordered: Tensor = values.permute(ORDER[layout])
        return ordered
    count = values.shape[1]
    side = round(count**0.5)
    if side * side != count:
        raise Mistake(
            f"expected tokens of a square grid from {source}, but got {count} of them, which make none; choose a "
            "layer whose output has no class token, or a module of your own that returns (batch, channel, h, w)."
        )
    cells: Tensor = values.transpose(1, 2).unflatten(2, (side, side))
    return cells


def out_of_order(maps: Float[Tensor, "batch channel h w"], layout: str) -> Float[Tensor, "batch *any"]:
    """Return maps in the layout that a layer has: what ``in_order`` undoes."""
    if layout == TOKENS:
        return maps.flatten(start_dim=2).transpose(1, 2)
    axes = ORDER[layout]
    return maps.permute([axes.index(axis) for axis in range(4)])


def found_layout(
    values: Float[Tensor, "batch _ _ _"],
    images: Float[Tensor, "batch color height width"],
    layer: nn.Module,
    again: Callable[[Tensor], Any],
) -> str:
    """Return the layout of a layer's output, recognized by its modules, its shape, or a second size of images.

    ``again`` gives the layer's output for other images. It is called, once, only where the first two leave it open:
    with the size of the images the cells change in number and the channels do not.

    Raises: ``ValueError`` that asks for the layout where that leaves it open too.
    """
    found = (
        _by_modules(layer) or _by_shape(values, images) or _by_size(values, images, again) or _by_norm(layer, values)
    )
    if found is None:
        raise Mistake(
            f"expected maps whose channels can be told from their cells, but {type(layer).__name__} gave shape "
            f"{tuple(values.shape)} for images of {images.shape[-2]}×{images.shape[-1]}; say which they are with "
            f"layout={FIRST!r} or layout={LAST!r}."
        )
    return found


def expect_several_cells(
    maps: Float[Tensor, "batch channel h w"], images: Float[Tensor, "batch color height width"], source: str
) -> None:
    """Refuse maps of one cell of larger images, such as a pooling gives. Raises: ``ValueError``."""
    if maps.shape[-2:].numel() == 1 and images.shape[-2:].numel() > 1:
        raise Mistake(
            f"expected maps of several cells from {source}, but got one for images of {images.shape[-2]}×"
            f"{images.shape[-1]}, which has no places to explain; name a layer before the pooling, or say "
            f"layout={FIRST!r} or tail='ignore' where one cell is meant."
        )


def _by_modules(layer: nn.Module) -> str | None:
    """Return the layout that the last module that shapes the output always gives."""
    shaping = _shaping(layer)
    if _is(shaping, OF_CHANNELS_FIRST):
        return FIRST
    if isinstance(shaping, Permute):
        return {(0, 3, 1, 2): FIRST, (0, 2, 3, 1): LAST}.get(tuple(shaping.dims))
    return None


def _by_norm(layer: nn.Module, values: Tensor) -> str | None:
    """Return the layout that the last module that shapes the output tells by the one axis that it mixes or normalizes.

    That is the last axis, but for a class of another library, where it is the axis of that length.
    """
    shaping = _shaping(layer)
    normalizes = isinstance(shaping, nn.LayerNorm) and len(shaping.normalized_shape) == 1
    if type(shaping) is nn.Linear or (normalizes and type(shaping) is nn.LayerNorm):
        return LAST
    if not isinstance(shaping, nn.LayerNorm) or not normalizes:
        return None
    is_first, is_last = (values.shape[axis] == shaping.normalized_shape[0] for axis in (1, -1))
    return None if is_first == is_last else LAST if is_last else FIRST


def _shaping(layer: nn.Module) -> nn.Module:
    return next((part for part in _backward(layer) if not _is(part, ELEMENTWISE)), layer)


def _backward(layer: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts of chains of modules from the last to the first."""
    if isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward and len(layer):
        for part in reversed(list(layer)):
            yield from _backward(part)
    else:
        yield layer


def _is(module: nn.Module, kinds: Any) -> bool:
    """Whether a module is of some kinds of PyTorch's own, not of a class that may do more."""
    return isinstance(module, kinds) and type(module).__module__.startswith("torch.nn.modules")


def _by_shape(values: Tensor, images: Tensor) -> str | None:
    """Return channels first where the last two axes are the image's sides, and the first two are far from them."""
    height, width = images.shape[-2:]
    channels, high, wide = values.shape[1:]
    exact = high * width == wide * height
    might_be_last = abs(channels * width - high * height) <= max(height, width)
    return FIRST if exact and not might_be_last else None


def _by_size(values: Tensor, images: Tensor, again: Callable[[Tensor], Any]) -> str | None:
    sides = [int(side) for side in images.shape[-2:]]
    larger = max(sides) * 2 <= LARGEST_PROBE
    probe = images.new_zeros(1, images.shape[1], *(side * 2 if larger else -(-side // 2) for side in sides))
    try:
        with torch.no_grad():
            other = again(probe)
    except Exception:  # a network for images of one size may fail in any way
        return None
    if not isinstance(other, Tensor) or other.dim() != 4 or len(other) != 1:
        return None
    same = [before == after for before, after in zip(values.shape[1:], other.shape[1:], strict=True)]
    return {(True, False, False): FIRST, (False, False, True): LAST}.get((same[0], same[1], same[2]))


def _described(values: Any) -> str:
    if isinstance(values, Tensor) and not values.is_nested:
        return f"shape {tuple(values.shape)}"
    if isinstance(values, list | tuple):
        return f"{type(values).__name__} of {len(values)} values"
    if isinstance(values, dict):
        return f"{type(values).__name__} of {', '.join(map(str, list(values)[:4]))}"
    return "a nested tensor" if isinstance(values, Tensor) else type(values).__name__


def _advice(values: Any, layout: str | None) -> str:
    axes = values.dim() if isinstance(values, Tensor) and not values.is_nested else 0
    if axes == 2:
        return "choose a convolutional layer with Encoder.wrap, because an embedding has no places"
    if axes == 3 and layout is None:
        return f"choose a convolutional layer, or say layout={TOKENS!r} where these are tokens of a square grid"
    return "choose a convolutional layer, whose output is one tensor"
