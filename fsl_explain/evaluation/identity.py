"""What a setting is, as text that is the same only for the same: two runs with one text may share finished parts."""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial, singledispatch
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from uuid import uuid4

import numpy as np
import torch

PLAIN = (str, int, float, bool, type(None))


@singledispatch
def identity(value: Any) -> str:
    """Return a text for a value: equal plain values, arrays, collections, data classes, functions and modules share it.

    A function is its name, its code, its defaults and the values that it uses, whatever is wrapped round it. Anything
    else is taken for new at every call, so that nothing of another one is ever used in its place.
    """
    if isinstance(value, PLAIN):
        return repr(value)
    if hasattr(value, "__wrapped__"):
        return identity(value.__wrapped__)
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return f"{identity(type(value))}({identity(parts)})"
    return f"{identity(type(value))} {uuid4().hex}"


@identity.register(type)
def _(value: type) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@identity.register(ModuleType)
@identity.register(BuiltinFunctionType)
def _(value: ModuleType | BuiltinFunctionType) -> str:
    return value.__name__


@identity.register(list)
@identity.register(tuple)
def _(value: list[Any] | tuple[Any, ...]) -> str:
    return f"[{', '.join(map(identity, value))}]"


@identity.register(Mapping)
def _(value: Mapping[Any, Any]) -> str:
    return f"{{{', '.join(f'{identity(key)}: {identity(one)}' for key, one in value.items())}}}"


@identity.register(torch.Tensor)
@identity.register(np.ndarray)
def _(value: Any) -> str:
    flat = torch.as_tensor(value).detach().cpu().contiguous().flatten()
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return f"{flat.dtype} {tuple(value.shape)} {hashlib.sha256(content).hexdigest()}"


@identity.register(partial)
def _(value: Any) -> str:
    return f"partial({identity([value.func, value.args, value.keywords])})"


@identity.register(FunctionType)
def _(value: FunctionType) -> str:
    value = inspect.unwrap(value)
    kept = [cell.cell_contents for cell in value.__closure__ or ()]
    used = {name: value.__globals__[name] for name in value.__code__.co_names if _is_a_value(value, name)}
    parts = identity([value.__defaults__, value.__kwdefaults__, kept, used])
    return f"{value.__module__}.{value.__qualname__}({_of_code(value.__code__)}, {parts})"


def _is_a_value(function: FunctionType, name: str) -> bool:
    return isinstance(function.__globals__.get(name, len), (*PLAIN, torch.Tensor, np.ndarray))


def _of_code(code: CodeType) -> str:
    inner = [_of_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return hashlib.sha256(repr([code.co_code.hex(), inner, code.co_names]).encode()).hexdigest()
