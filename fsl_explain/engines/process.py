"""The engine that works in several processes of this machine, each with its own copy of the work."""

import multiprocessing
import os
import pickle
import signal
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from fsl_explain.engine import EngineOptions, Make, Part, Result, Say, Work, to_stderr
from fsl_explain.engines.carried import Carried, Outcome, begin, carried, made, plain_dumps
from fsl_explain.engines.crew import Crew, Heard, Lost, Ready, mapped
from fsl_explain.engines.schedule import Placed
from fsl_explain.engines.shards import Shards, left_to_make

SECONDS_TO_END = 5.0
USUAL = EngineOptions("process")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    """A process and the line to it."""

    process: BaseProcess
    line: Connection


class ProcessCrew:
    """Workers that are processes; they end with this object, and with the process that has it."""

    def __init__(self) -> None:
        self._running: dict[int, _Worker] = {}
        self._wanted, self._packed, self._number = 0, b"", 0
        self._finalizer = weakref.finalize(self, _end, self._running)

    def begin(self, work: Carried, workers: int, say: Say) -> None:  # noqa: ARG002 - nothing to say
        """Start what is not running, and give so many the work."""
        self._number += 1  # so that no late word about other work is taken for one about this
        self._wanted, self._packed = workers, pickle.dumps((self._number, work))
        for number in range(workers):
            if number not in self._running or not self._running[number].process.is_alive():
                self._running[number] = _started()
        for number in range(workers):
            _send(self._running[number], self._packed)

    def ask(self, worker: int, part: Part) -> None:
        """Send a part."""
        _send(self._running[worker], pickle.dumps((self._number, part)))

    def hear(self) -> list[Heard]:
        """Wait for a line that says something, or for the end of a process."""
        working = {number: self._running[number] for number in range(self._wanted)}
        told = set(wait([end for one in working.values() for end in (one.line, one.process.sentinel)]))
        heard: list[Heard] = []
        for number, one in working.items():
            if one.line in told or one.process.sentinel in told:
                work, what = _heard_from(one)
                if isinstance(what, Lost):
                    self._running[number] = _started()
                    _send(self._running[number], self._packed)
                if isinstance(what, Lost) or work == self._number:
                    heard.append((number, what))
        return heard

    def rest(self) -> None:
        """Tell all to forget the work."""
        self._packed = b""
        for one in self._running.values():
            _send(one, pickle.dumps((self._number, None)))

    def end(self, workers: Iterable[int]) -> None:
        """Kill these."""
        _end({number: self._running.pop(number) for number in list(workers) if number in self._running})


@dataclass(frozen=True)
class ProcessEngine:
    """Parts side by side, one a worker at a time; with a folder those that are there already are not made again."""

    folder: Path | None = None
    run: str = ""  # fingerprint of everything that the results depend on beside the part
    say: Say = to_stderr
    options: EngineOptions = USUAL
    crew: Crew | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.crew is None:
            object.__setattr__(self, "crew", ProcessCrew())

    @property
    def workers(self) -> int:
        """How many processes work."""
        return self.options.workers or processors()

    @property
    def threads(self) -> int:
        """How many threads each of them has."""
        return self.options.threads or max(1, processors() // self.workers)

    def map(self, make: Make, parts: Iterable[Part]) -> Iterator[tuple[int, Result]]:
        """Yield the position of each part and its result; every worker calls ``make`` once.

        Raises: what the work raises; ``ValueError`` for work that cannot be sent to a worker; ``RuntimeError`` for a
        part that ends its worker again and again.
        """
        shards = None if self.folder is None else Shards(self.folder, self.run, self.say)
        left: list[Placed] = []
        yield from left_to_make(shards, parts, left)
        if left and self.crew is not None:
            work = carried(make, self.threads, plain_dumps)
            yield from mapped(self.crew, work, min(self.workers, len(left)), left, shards, self.say)


def _started() -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True, name="fsl-explain worker")
    process.start()
    there.close()
    return _Worker(process, here)


def _send(worker: _Worker, message: bytes) -> None:
    with suppress(OSError):  # a worker that is no more is heard of by its end
        worker.line.send_bytes(message)


def _heard_from(one: _Worker) -> tuple[int, Ready | Lost | Outcome]:
    """Return the number of the work that a worker speaks of, and what it says; or that it is no more."""
    try:
        if one.line.poll():  # also of a process that said its last word
            said: tuple[int, Ready | Outcome] = pickle.loads(one.line.recv_bytes())
            return said
    except (EOFError, OSError):
        pass
    one.process.join(SECONDS_TO_END)
    code = one.process.exitcode
    _end({0: one})
    return 0, Lost(f"signal {-code}" if code is not None and code < 0 else f"exit code {code}")


def _end(workers: dict[int, _Worker]) -> None:
    for one in workers.values():
        one.process.kill()
    for one in workers.values():
        one.process.join(SECONDS_TO_END)
        one.line.close()
    workers.clear()


def _serve(line: Connection) -> None:
    """Be a worker: begin with work, make parts and forget work, as the line says, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the driver ends the workers
    work: Work | None = None
    with suppress(EOFError, OSError):
        while True:
            number, message = pickle.loads(line.recv_bytes())
            if isinstance(message, Carried):
                work, begun = begin(message)
                line.send_bytes(pickle.dumps((number, Ready() if begun.raised is None else begun)))
            elif isinstance(message, Part) and work is not None:
                line.send_bytes(pickle.dumps((number, made(work, message))))
            else:
                work = None
