"""Errors about names that are not there, with the nearest ones that are."""

import difflib
from collections.abc import Iterable

from episodes.errors import UnknownName

MAX_LISTED = 40


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like ``name``, or None when none is near; case does not count."""
    near = _near(name, list(known))
    return near[0] if near else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Return the error to raise when ``name`` is not among the ``known`` names of a ``kind`` of thing.

    The message offers up to three near names. More than 40 known names are not listed in full.
    """
    names = list(known)
    near = _near(name, names)
    question = f"; did you mean {' or '.join(repr(candidate) for candidate in near)}?" if near else "."
    if not names:
        return UnknownName(f"unknown {kind} {name!r}; there is none to choose from.")
    if len(names) <= MAX_LISTED:
        return UnknownName(f"unknown {kind} {name!r}{question} Known: {', '.join(names)}")
    some = "" if near else f" Known, the first of {len(names)}: {', '.join(names[:5])}"
    return UnknownName(f"unknown {kind} {name!r}{question}{some}")


def _near(name: str, names: list[str]) -> list[str]:
    by_folded = {known.casefold(): known for known in reversed(names)}
    return [by_folded[folded] for folded in difflib.get_close_matches(str(name).casefold(), by_folded, n=3)]
