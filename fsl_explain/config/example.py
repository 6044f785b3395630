"""Settings shown before they are written: a commented example in TOML, and a JSON schema, of any model of settings."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from fsl_explain.config.data import DATA_SETS, DataOptions
from fsl_explain.config.strict import Settings

WIDTH = 100
"""Characters of a comment's line."""
NEEDED: Mapping[str, str] = {"output": "weights.safetensors", "title": "Conv4Net"}
"""Values in the example of settings that have no default."""
LEFT_OUT = ("None: ", "left out: ")
"""What TOML calls none."""
EXTENDS = {
    "type": "string",
    "description": "Another file, relative to this one, whose settings hold where this one says nothing.",
}


def example(model: type[Settings]) -> str:
    """Return a file in TOML that ``read_config`` reads as the defaults of a model, with a comment above every setting.

    A setting without a default value, and a section that is left out by default, stands behind a ``#`` without a space.
    """
    return "\n".join(_section(model, None, (), "")).strip() + "\n"


def schema(model: type[Settings]) -> dict[str, Any]:
    """Return the JSON schema of a model's settings, with all registered kinds of data wherever data are named."""
    kinds = {kind: DATA_SETS[kind] for kind in DATA_SETS}
    asked: list[tuple[type[Settings], Literal["validation"]]] = [
        (one, "validation") for one in dict.fromkeys((model, *kinds.values()))
    ]
    references, whole = models_json_schema(asked)
    defined = whole["$defs"]
    found = {kind: references[options, "validation"] for kind, options in kinds.items()}
    defined[DataOptions.__name__] = {
        "description": "Images of a data set, by kind.",
        "discriminator": {"propertyName": "kind", "mapping": {kind: each["$ref"] for kind, each in found.items()}},
        "oneOf": list(found.values()),
    }
    top = defined.pop(model.__name__)
    top["properties"]["extends"] = EXTENDS
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": _used(top, defined)}


def _used(top: Mapping[str, Any], defined: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions that a schema refers to, or those that these refer to."""
    wanted, seen = [top], {}
    while wanted:
        text = json.dumps(wanted.pop())
        for name in defined:
            if name not in seen and f'"#/$defs/{name}"' in text:
                seen[name] = defined[name]
                wanted.append(defined[name])
    return dict(sorted(seen.items()))


def _section(model: type[Settings], given: Settings | None, place: tuple[str, ...], mark: str) -> Iterator[str]:
    """Yield the lines of a section, values before sections below it; ``mark`` stands before each setting."""
    below = []
    names = sorted(model.model_fields, key=lambda name: name != "kind")
    for name in names:
        field = model.model_fields[name]
        if _models(field.annotation):
            below.append((name, field))
        else:
            yield from _comment(_words(field))
            yield _line(name, field, given, mark)
    for name, field in below:
        yield from _below(name, field, given, place, mark)


def _below(name: str, field: FieldInfo, given: Settings | None, place: tuple[str, ...], mark: str) -> Iterator[str]:
    """Yield the lines of a section of its own: of the kind that is the default, or else the first."""
    kinds = _models(field.annotation)
    value = _default(name, field, given)
    model = type(value) if isinstance(value, Settings) else kinds[0]
    left_out = value is None and not field.is_required()
    mark = "#" if left_out else mark
    heading = ".".join((*place, name))
    yield ""
    yield from _comment((field.description or _first_line(model)).replace(*LEFT_OUT))
    if left_out:
        yield from _comment("Left out by default.")
    yield from _others(model, kinds, short=bool(mark))
    yield f"{mark}[[{heading}]]" if get_origin(field.annotation) is tuple else f"{mark}[{heading}]"
    yield from _section(model, value if isinstance(value, Settings) else None, (*place, name), mark)


def _others(model: type[Settings], kinds: tuple[type[Settings], ...], *, short: bool) -> Iterator[str]:
    """Yield what kinds of a section there are beside the one in the example; in short by name alone."""
    others = [other for other in kinds if other is not model]
    if short and others:
        yield from _comment(f"Other kinds: {', '.join(_kind(other) for other in others)}.")
    elif others:
        yield from _comment("Other kinds, with the settings of their own, which --schema describes:")
        for other in others:
            own = [key for key in other.model_fields if key == "kind" or key not in DataOptions.model_fields]
            named = ", ".join(key for key in own if key != "kind")
            yield from _comment(f"{_kind(other)} ({named}): {_first_line(other)}", "#   ")


def _models(annotation: Any) -> tuple[type[Settings], ...]:
    """Return the models of settings that an annotation takes, each registered kind of data for data."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return tuple(DATA_SETS[kind] for kind in DATA_SETS) if annotation is DataOptions else (annotation,)
    if get_origin(annotation) is Literal:
        return ()
    return tuple(dict.fromkeys(model for part in get_args(annotation) for model in _models(part)))


def _line(name: str, field: FieldInfo, given: Settings | None, mark: str) -> str:
    value = _default(name, field, given)
    if value is None:
        return f"#{name} = {_toml(_any_value(field))}"
    return f"{mark}{name} = {_toml(value)}"


def _default(name: str, field: FieldInfo, given: Settings | None) -> Any:
    """Return what a setting is unless a file says it, or what the example says of one that every file must say."""
    if given is not None:
        return getattr(given, name)
    if not field.is_required():
        return field.get_default(call_default_factory=True)
    choices = _choices(field.annotation)
    return choices[0] if choices else NEEDED.get(name, "…") if not _models(field.annotation) else None


def _any_value(field: FieldInfo) -> Any:
    """Return a value that a setting takes, where the default is none."""
    choices, kinds = _choices(field.annotation), {field.annotation, *get_args(field.annotation)}
    if choices:
        return choices[0]
    if int in kinds:
        return next((note.ge for note in field.metadata if hasattr(note, "ge")), 1)
    return [] if any(get_origin(kind) is tuple for kind in kinds) else "…"


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


def _toml(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _words(field: FieldInfo) -> str:
    """Return what a setting is, and its choices as far as that does not say them."""
    words = (field.description or "").replace(*LEFT_OUT)
    choices = [str(choice) for choice in _choices(field.annotation)]
    if len(choices) > 1 and not all(choice in words for choice in choices):
        words = f"{words} One of {', '.join(choices)}."
    return words.strip()


def _comment(words: str, indent: str = "# ") -> Iterator[str]:
    yield from textwrap.wrap(words, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _first_line(model: type[Settings]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _kind(model: type[Settings]) -> str:
    return json.dumps(_choices(model.model_fields["kind"].annotation)[0])
