"""Where long work runs: an engine makes results of parts, in any order, and may keep those that are finished.

An engine of another kind is one file with a class like ``LocalEngine``, and one line in ``ENGINES``.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from episodes.errors import Mistake, WrongType
from episodes.registry import Registry

CONTENTS = "contents"  # the key, of what a part is made of, that tells its images' pixels and annotations
Say = Callable[[str], None]
Result = Mapping[str, Any]  # tensors by name


@dataclass(frozen=True)
class Part:
    """A piece of the work: what its shard is called, and the plain values that say what it is made of."""

    name: str  # no two parts of a run share one
    made_of: Mapping[str, Any]


Work = Callable[[Part], Result]
Make = Callable[[], Work]


@runtime_checkable
class Engine(Protocol):
    """Runs work part by part.

    Law: the results of ``map`` are those of ``work = make()`` and ``work(part)`` for each part, whatever was kept
    before and wherever it runs; each position is yielded once, in any order.
    """

    def map(self, make: Make, parts: Iterable[Part]) -> Iterator[tuple[int, Result]]:
        """Yield the position of each part and its result; ``make`` and the parts can be pickled."""
        ...


def to_stderr(sentence: str) -> None:
    """Say a sentence where progress goes."""
    sys.stderr.write(f"{sentence}\n")


EngineOf = Callable[[Path | None, str, Say], Engine]
ENGINES: Registry[EngineOf] = Registry("engine", {"local": "fsl_explain.engines.local:LocalEngine"})
"""By name, what makes an engine of a folder for finished parts, the fingerprint of the run, and where to say things."""


def engine_for(engine: str | Engine, folder: Path | None, run: str, say: Say = to_stderr) -> Engine:
    """Return an engine by name that keeps finished parts of this run in ``folder``, or the engine given.

    Raises: ``LookupError`` with the nearest names; ``ValueError`` for a folder beside an engine of the caller's own.
    """
    if isinstance(engine, str):
        return ENGINES[engine](folder, run, say)
    if not isinstance(engine, Engine):
        raise WrongType(
            f"expected the name of an engine or an object that has map, but got {type(engine).__name__}; "
            f"choose one of {', '.join(ENGINES)}."
        )
    if folder is not None:
        raise Mistake("expected a folder for finished parts or an engine of your own, but got both; drop partial.")
    return engine
