"""The driver of an engine with workers: parts go out, results come in, and what a lost worker had is made again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from episodes.errors import WorkerLost
from fsl_explain.engine import Part, Result, Say
from fsl_explain.engines.carried import Carried, Outcome
from fsl_explain.engines.schedule import Placed, Schedule
from fsl_explain.engines.shards import Shards

TRIES = 3
"""How many workers may be lost with one part, or before one has started at all."""


@dataclass(frozen=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True)
class Lost:
    """A worker is no more; another one is starting in its place."""

    why: str


Heard = tuple[int, Ready | Lost | Outcome]


@runtime_checkable
class Crew(Protocol):
    """Workers by number. A lost one is replaced; none is asked before it is ready, and one part at a time."""

    def begin(self, work: Carried, workers: int, say: Say) -> None:
        """Give so many workers the work, starting those that there are not yet."""
        ...

    def ask(self, worker: int, part: Part) -> None:
        """Let a worker make a part."""
        ...

    def hear(self) -> list[Heard]:
        """Wait until something has happened, and return it."""
        ...

    def rest(self) -> None:
        """Let every worker forget the work; it stays for the next."""
        ...

    def end(self, workers: Iterable[int]) -> None:
        """End these workers, whatever they do."""
        ...


def mapped(
    crew: Crew, work: Carried, workers: int, parts: Iterable[Placed], shards: Shards | None, say: Say
) -> Iterator[tuple[int, Result]]:
    """Yield the result of each part as it comes, kept in ``shards`` before.

    When this ends early, busy workers end with it.

    Raises: what the work raises; ``RuntimeError`` for a part that ends its worker again and again.
    """
    asked: dict[int, Placed] = {}
    try:
        crew.begin(work, workers, say)
        for (position, part), result in _results(crew, Schedule(parts), asked, say):
            if shards is not None:
                shards.save(part, result)
            yield position, result
    finally:
        crew.end(asked)
        crew.rest()


def _results(crew: Crew, schedule: Schedule, asked: dict[int, Placed], say: Say) -> Iterator[tuple[Placed, Result]]:
    """Yield results; ``asked`` holds what each worker is at."""
    ready: set[int] = set()
    losses: Counter[int] = Counter()
    while schedule or asked:
        _ask(crew, schedule, ready, asked)
        arrived: list[tuple[Placed, Outcome]] = []
        for worker, what in crew.hear():
            placed = asked.pop(worker, None)
            if isinstance(what, Lost):
                ready.discard(worker)
                _take_back(schedule, placed, losses, what, say)
            else:
                ready.add(worker)
                arrived += _arrived(placed, what, losses)
        _ask(crew, schedule, ready, asked)  # before the results are taken, so that nobody waits for that
        for answered, outcome in arrived:
            yield answered, outcome.taken()


def _arrived(placed: Placed | None, what: Ready | Outcome, losses: Counter[int]) -> list[tuple[Placed, Outcome]]:
    """Return what came of a part, or nothing of a worker that has begun. Raises: why it could not begin."""
    if isinstance(what, Ready):
        losses.pop(NO_PART, None)
        return []
    if placed is None:
        what.taken()
        return []
    return [(placed, what)]


NO_PART = -1


def _ask(crew: Crew, schedule: Schedule, ready: set[int], asked: dict[int, Placed]) -> None:
    for worker in sorted(ready):
        placed = schedule.take(worker)
        if placed is None:
            return
        ready.discard(worker)
        asked[worker] = placed
        crew.ask(worker, placed[1])


def _take_back(schedule: Schedule, placed: Placed | None, losses: Counter[int], lost: Lost, say: Say) -> None:
    """Give the part of a lost worker to the others. Raises: ``RuntimeError`` where one too many was lost."""
    position = NO_PART if placed is None else placed[0]
    losses[position] += 1
    if placed is not None:
        if losses[position] >= TRIES:
            raise WorkerLost(
                f"the part {placed[1].name} has ended {TRIES} workers ({lost.why}), so that it is not tried again; "
                "where memory is short, use fewer workers or a smaller batch_size."
            )
        say(f"A worker was lost with the part {placed[1].name} ({lost.why}); the part is made again.")
        schedule.give_back(placed)
    elif losses[position] >= TRIES:
        raise WorkerLost(
            f"{TRIES} workers ended before they had started ({lost.why}); a script starts its run below "
            "if __name__ == '__main__':, and memory has to suffice for all workers."
        )
