"""Numbers in settings: their range, and that they are numbers."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from episodes.errors import Mistake

MOST = 1_000_000_000
"""Of what is counted one by one: episodes, mosaics, images, steps."""
MOST_AT_ONCE = 1_000_000
"""Of what memory holds at once: images of a batch, classes of an episode, masks, negatives."""
WIDEST = 16_384
"""Channels of a layer, and pixels of a side."""
LARGEST_SEED = 2**63 - 1

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check_kind(key: str, annotation: Any, value: Any) -> None:
    """Refuse a value of another kind where pydantic would convert: true as 1, "5" as 5, 1 as true.

    Raises: ``ValueError``.
    """
    wanted = _scalars(annotation)
    if not wanted:
        return
    for one in value if isinstance(value, list | tuple) else (value,):
        kind = type(one)
        if kind in (bool, int, float, str) and kind not in wanted and not (kind is int and float in wanted):
            if kind is float and int in wanted and one.is_integer():
                continue
            words = " or ".join(WORDS[each] for each in WORDS if each in wanted)
            raise Mistake(f"[{key}] expected {words}, but got {one!r}")


def check_range(values: Any, where: str = "") -> None:
    """Refuse numbers inside free settings that no network has: not finite, or further from 0 than ``MOST_AT_ONCE``.

    Raises: ``ValueError`` that names the key.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            check_range(value, f"{where}.{key}" if where else str(key))
    elif isinstance(values, list | tuple):
        for value in values:
            check_range(value, where)
    elif isinstance(values, int | float) and not abs(values) <= MOST_AT_ONCE:
        raise Mistake(f"expected numbers from -{MOST_AT_ONCE:,} to {MOST_AT_ONCE:,}, but {where} is beyond")


def _scalars(annotation: Any) -> set[Any]:
    """Return the plain types that an annotation takes; nothing where it takes others that are written as plain ones."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        parts = [_scalars(part) for part in get_args(annotation) if part is not type(None)]
        return set().union(*parts) if all(parts) else set()
    if origin is tuple:
        return _scalars(get_args(annotation)[0])
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _scalars(get_args(annotation)[0])
    return {annotation} if annotation in (bool, int, float) else set()
