"""What PyTorch calls an operation that is watched, and the tensors among what goes into it and comes out."""

from functools import lru_cache
from typing import Any

from torch import Tensor


@lru_cache(maxsize=512)
def name_of(func: Any) -> str:
    """Return what PyTorch calls an operation, whatever its overload."""
    return str(func.overloadpacket).removeprefix("aten.")


def tensors_in(found: Any) -> list[Tensor]:
    """Return the tensors in arguments or outcomes, those in lists too, in their order."""
    if isinstance(found, Tensor):
        return [found]
    if isinstance(found, dict):
        found = found.values()
    elif not isinstance(found, list | tuple):
        return []
    tensors: list[Tensor] = []
    for one in found:
        if isinstance(one, Tensor):
            tensors.append(one)
        elif isinstance(one, list | tuple | dict):
            tensors += tensors_in(one)
    return tensors
