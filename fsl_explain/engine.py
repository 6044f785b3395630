"""Where long work runs: an engine makes results of parts, in any order, and may keep those that are finished.

An engine of another kind is one file with a class like ``LocalEngine``, and one line in ``ENGINES``. Whatever it is,
results are put together by their positions, never in the order in which they come.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from episodes.errors import Mistake, WrongType
from episodes.registry import Registry

LOCAL = "local"
CONTENTS = "contents"  # the key, of what a part is made of, that tells its images' pixels and annotations
Say = Callable[[str], None]
Result = Mapping[str, Any]  # tensors by name


@dataclass(frozen=True)
class Part:
    """A piece of the work: what its shard is called, and the plain values that say what it is made of."""

    name: str  # no two parts of a run share one
    made_of: Mapping[str, Any]
    group: str | None = None  # parts of one share what their work keeps in memory: one worker is to make them


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


@dataclass(frozen=True)
class EngineOptions:
    """An engine by name, and how many workers of which size it has.

    Raises: ``ValueError`` for numbers that no engine has.
    """

    name: str = "local"
    workers: int | None = None  # processes that make parts; None: one for each processor
    threads: int | None = None  # of a worker; None: the processors divided by the workers
    gpus: int = 0  # of a worker, where the engine deals them out

    def __post_init__(self) -> None:
        for what, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and value < 1:
                raise Mistake(f"expected at least 1 of the {what} of an engine, but got {value}.")
        if self.gpus < 0:
            raise Mistake(f"expected 0 or more of the gpus of an engine, but got {self.gpus}.")
        if self.workers is not None and self.name == LOCAL:
            raise Mistake(
                f"the engine {LOCAL} is this process and has no workers, but got {self.workers}; choose the engine "
                "process or ray, or drop workers."
            )


EngineChoice = str | EngineOptions | Engine
EngineOf = Callable[[Path | None, str, Say, EngineOptions], Engine]
ENGINES: Registry[EngineOf] = Registry(
    "engine",
    {
        LOCAL: "fsl_explain.engines.local:LocalEngine",
        "process": "fsl_explain.engines.process:ProcessEngine",
        "ray": "fsl_explain.engines.ray:RayEngine",
    },
)
"""By name, what makes an engine of a folder for finished parts, the fingerprint of the run, where to say things, and
its options."""


def engine_for(engine: EngineChoice, folder: Path | None, run: str, say: Say = to_stderr) -> Engine:
    """Return an engine by name that keeps finished parts of this run in ``folder``, or the engine given.

    Raises: ``LookupError`` with the nearest names; ``ValueError`` for a folder beside an engine of the caller's own;
    ``ImportError`` for one whose package is not installed.
    """
    if isinstance(engine, str):
        engine = EngineOptions(engine)
    if isinstance(engine, EngineOptions):
        return ENGINES[engine.name](folder, run, say, engine)
    if not isinstance(engine, Engine):
        raise WrongType(
            f"expected the name of an engine or an object that has map, but got {type(engine).__name__}; "
            f"choose one of {', '.join(ENGINES)}."
        )
    if folder is not None:
        raise Mistake("expected a folder for finished parts or an engine of your own, but got both; drop partial.")
    return engine


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """Yield results by their positions from 0 on; those that come early wait."""
    waiting: dict[int, Result] = {}
    following = 0
    for position, result in results:
        waiting[position] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1
