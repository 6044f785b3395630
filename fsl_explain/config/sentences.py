"""What is wrong with settings in one sentence of ours: the key, what was expected, what was got, what to do."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

SHOWN = 80
"""Characters of a value in a sentence."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text in quotes",
    "path": "a path in quotes",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "finite": "a finite number",
    "date": "a date",
}
"""What a value should be, by the first word of pydantic's kinds of error."""
LIMITS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "greater_than_equal": lambda given: f"a number greater than or equal to {_plain(given['ge'])}",
    "greater_than": lambda given: f"a number greater than {given['gt']:g}",
    "less_than_equal": lambda given: f"a number less than or equal to {_plain(given['le'])}",
    "less_than": lambda given: f"a number less than {given['lt']:g}",
    "multiple_of": lambda given: f"a multiple of {given['multiple_of']}",
    "too_short": lambda given: f"at least {given['min_length']} of them",
    "too_long": lambda given: f"at most {given['max_length']} of them",
    "string_too_short": lambda given: f"a text of at least {given['min_length']} characters",
    "string_too_long": lambda given: f"a text of at most {given['max_length']} characters",
    "literal_error": lambda given: str(given["expected"]),
    "int_from_float": lambda _given: "a whole number",
    "int_parsing_size": lambda _given: "a whole number of less than 4,300 digits",
}


def sentence_of(error: ValidationError) -> str:
    """Say in one sentence what is wrong with the first wrong value, and how many more mistakes there are.

    What is missing comes behind what is wrong: a misspelled key may be the reason.
    """
    first, *more = sorted(error.errors(include_url=False), key=lambda found: found["type"] == "missing")
    # a list with a wrong entry is too short besides
    others = [one for one in more if one["loc"] != first["loc"][: len(one["loc"])]]
    where = ".".join(str(part) for part in first["loc"])
    message = _message(first).rstrip(".")
    rest = f" ({len(others)} more mistake{'s' if len(others) > 1 else ''})" if others else ""
    if message.startswith("["):  # a check of a whole section names the key
        key, _, message = message[1:].partition("] ")
        where = f"{where}.{key}" if where else key
    return f"{f'[{where}] ' if where else ''}{message}.{rest}"


def _message(found: ErrorDetails) -> str:
    kind = found["type"]
    if kind == "missing":
        return "this key is required but missing; add it"
    if kind == "value_error":
        return str(found["msg"]).removeprefix("Value error, ")
    if kind in LIMITS:
        expected = LIMITS[kind](found.get("ctx", {}))
    else:
        expected = KINDS.get(kind.partition("_")[0], "another value")
    return f"expected {expected}, but got {_shown(found['input'])}"


def _plain(limit: int | float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def _shown(value: Any) -> str:
    """Return a value as it would be written, shortened; a number of thousands of digits has no short form."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
