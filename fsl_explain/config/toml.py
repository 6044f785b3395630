"""TOML as values: what the parser cannot take is one sentence."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from episodes.errors import Mistake

DEEPEST = 50
"""Tables and lists inside one another."""
DEEP_KEY = re.compile(rf"""(?<![\w\-"'.])(?:(?:"[\w-]*"|'[\w-]*'|[\w-]+)[ \t]*\.[ \t]*){{{DEEPEST}}}""")
"""A key of so many parts; the parser takes the square of their number."""


def toml_values(text: str, path: Path) -> dict[str, Any]:
    """Return the values of a TOML file; the sentence of a mistake names the file, and the line where it is known."""
    if DEEP_KEY.search(text):
        raise Mistake(f"{path}: expected keys of up to {DEEPEST} parts, but got a longer one; flatten it.")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise Mistake(f"{path} is no TOML file that can be read: it is nested too deeply; flatten it.") from None
    except ValueError as error:  # of the syntax, and of numbers and dates that there are none of
        raise Mistake(f"{path} is no TOML file: {error}.") from error
    if not _is_shallow(values):
        raise Mistake(f"{path}: expected tables up to {DEEPEST} deep, but got deeper ones; flatten them.")
    return values


def toml_value(text: str) -> Any:
    """Return the value that a text says in TOML, or the text itself where it is none."""
    if DEEP_KEY.search(text):
        return text.strip()
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    alone = set(read) == {"value"} and _is_shallow(read)
    return read["value"] if alone else text.strip()


def _is_shallow(values: Any) -> bool:
    layer = [values]
    for _ in range(DEEPEST):
        layer = [
            inner
            for value in layer
            if isinstance(value, Mapping | list)
            for inner in (value.values() if isinstance(value, Mapping) else value)
        ]
        if not layer:
            return True
    return False
