"""Short words for results that hold many numbers, so that a notebook shows a line and not pages of tensors."""

from collections.abc import Mapping
from dataclasses import fields
from html import escape
from typing import Any

from torch import Tensor

LONGEST = 60  # letters of one value


def brief(result: Any) -> str:
    """Return the name of a dataclass and its fields in one line; a tensor is its shape, or its value if it has one."""
    told = ", ".join(f"{one.name}={_value(getattr(result, one.name))}" for one in fields(result) if one.repr)
    return f"{type(result).__name__}({told})"


def as_html(text: str) -> str:
    """Return words as the preformatted text of a notebook; nothing in them is markup."""
    return f"<pre>{escape(text)}</pre>"


def _value(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.item():.6g}" if value.dim() == 0 else f"tensor({'×'.join(map(str, value.shape))})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_value(held)}" for name, held in list(value.items())[:3]) + "}"
    words = repr(value)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
