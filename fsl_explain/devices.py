"""What a device can do: some, such as Apple's graphics processors, have no float64, in which decisions are compared.

There the network runs on the device, and what comes out of it is brought to the CPU.
"""

import copy
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

KNOWN = ("cpu", "cuda")
HALF = (torch.float16, torch.bfloat16)
CPU = torch.device("cpu")
Given = ParamSpec("Given")
Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=nn.Module)


@lru_cache(maxsize=8)
def has_float64(kind: str) -> bool:
    """Tell whether devices of a kind, such as ``mps``, have tensors in float64, by asking for one."""
    if kind in KNOWN:
        return True
    try:
        torch.zeros(1, dtype=torch.float64, device=kind)
    except (RuntimeError, TypeError):
        return False
    return True


def at_hand(values: Tensor) -> Tensor:
    """Return values where float64 can be computed with them: as they are, or on the CPU."""
    return values if has_float64(values.device.type) else values.cpu()


def precise(values: Tensor) -> Tensor:
    """Return values in float64, on their device or else on the CPU."""
    return at_hand(values).double()


def with_float64(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make a function of tensors compute where float64 can be: it gets those of other devices on the CPU."""

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        here = [at_hand(one) if isinstance(one, Tensor) else one for one in args]
        named = {name: at_hand(one) if isinstance(one, Tensor) else one for name, one in kwargs.items()}
        return function(*here, **named)  # type: ignore[arg-type] # of the same types

    return called


def module_at_hand(module: Kind) -> Kind:
    """Return a module where float64 can be computed with it: itself, or a copy as it is now, on the CPU."""
    tensors = [*module.parameters(), *module.buffers()]
    if all(has_float64(one.device.type) for one in tensors):
        return module
    return copy.deepcopy(module).to(CPU)


def in_full_precision(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return values of half precision in float32, others as they are."""
    return values.float() if values.dtype in HALF else values


def module_in_full_precision(module: nn.Module) -> nn.Module:
    """Return a copy in float32 of a module of half precision, another one as it is."""
    return copy.deepcopy(module).float() if any(value.dtype in HALF for value in module.parameters()) else module
