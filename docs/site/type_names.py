"""The types of ours that stand in signatures: found by walking annotations from the public names on."""

import inspect
import typing
from collections.abc import Iterable, Iterator
from typing import Any

OURS = ("episodes", "fsl_explain", "retrieval_explain")


def own_types(objects: Iterable[Any], known: dict[str, str]) -> dict[str, type]:
    """Return the classes of ours that the signatures of objects name, and theirs in turn, without the known ones."""
    found: dict[str, type] = {}
    waiting = list(objects)
    while waiting:
        for one in classes_named_by(waiting.pop()):
            name = f"{one.__module__}.{one.__qualname__}"
            if one.__module__.split(".")[0] in OURS and name not in known and name not in found:
                found[name] = one
                waiting.append(one)
    return dict(sorted(found.items(), key=lambda item: item[1].__name__.lower()))


def classes_named_by(found: Any) -> Iterator[type]:
    """Yield every class in the annotations of a function, or of a class with its public members, and its bases."""
    if inspect.isclass(found):
        yield from (base for base in found.__bases__ if base is not object)
        for name, member in vars(found).items():
            if not name.startswith("_") or name in {"__init__", "__call__"}:
                yield from of_annotations(unwrapped(member))
    yield from of_annotations(found)


def unwrapped(member: Any) -> Any:
    """Return the function behind a property or a method."""
    if isinstance(member, property):
        return member.fget
    return getattr(member, "func", getattr(member, "__func__", member))


def of_annotations(found: Any) -> Iterator[type]:
    """Yield the classes in the annotations of one object, as deep as they lie in others."""
    try:
        hints = typing.get_type_hints(found)
    except (TypeError, NameError, AttributeError):
        hints = getattr(found, "__annotations__", {})
    for hint in hints.values():
        yield from inside(hint)


def inside(hint: Any) -> Iterator[type]:
    """Yield a class, or those that a composed type is made of."""
    if inspect.isclass(hint) and not typing.get_args(hint):
        yield hint
    for argument in (*typing.get_args(hint), typing.get_origin(hint)):
        if argument is not None:
            yield from inside(argument) if not isinstance(argument, list) else (c for a in argument for c in inside(a))
