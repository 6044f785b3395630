"""The engine that works on a Ray cluster: one started on this machine, or the one that RAY_ADDRESS names.

Workers are actors. One that is lost with its process or its node is replaced, and so is its part; as long as the
cluster has no place for it the others go on without it.
"""

import logging
import os
import pickle
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from episodes.errors import MissingPackage, Mistake
from fsl_explain.engine import EngineOptions, Make, Part, Result, Say, Work, to_stderr
from fsl_explain.engines.carried import Carried, Outcome, begin, carried, made
from fsl_explain.engines.crew import Crew, Heard, Lost, Ready, mapped
from fsl_explain.engines.process import processors
from fsl_explain.engines.schedule import Placed
from fsl_explain.engines.shards import Shards, left_to_make

SECONDS_TO_HEAR = 15.0
USUAL = EngineOptions("ray")
ADDRESS = "RAY_ADDRESS"
NICENESS = "RAY_worker_niceness"  # of Ray's own choice 15: workers would starve beside other programs


class Worker:
    """What an actor does."""

    def __init__(self) -> None:
        self.work: Work | None = None

    def begin(self, packed: bytes) -> Outcome:
        """Make the work."""
        message: Carried = pickle.loads(packed)
        self.work, outcome = begin(message)
        return outcome

    def make(self, packed: bytes) -> Outcome:
        """Make a part."""
        part: Part = pickle.loads(packed)
        if self.work is None:
            raise RuntimeError("a worker was asked for a part before it had work")
        return made(self.work, part)

    def rest(self) -> None:
        """Forget the work."""
        self.work = None


class RayCrew:
    """Workers that are actors; they end with this object, and with the process that has it."""

    def __init__(self, threads: int, gpus: int) -> None:
        self._threads, self._gpus = threads, gpus
        self._actors: dict[int, Any] = {}
        self._packed: Any = None
        self._awaited: dict[Any, tuple[int, bool]] = {}  # by reference: the worker, and whether it is a part's
        self._say: Say = to_stderr
        self._finalizer = weakref.finalize(self, _end, self._actors)

    def begin(self, work: Carried, workers: int, say: Say) -> None:
        """Give so many actors the work; Ray starts them where it has room."""
        ray, self._say = connected(), say
        self._packed = ray.put(pickle.dumps(work))
        self._awaited.clear()
        for number in range(workers):
            if number not in self._actors:
                self._start(number)
            self._begin(number)

    def ask(self, worker: int, part: Part) -> None:
        """Send a part."""
        self._awaited[self._actors[worker].make.remote(pickle.dumps(part))] = (worker, True)

    def hear(self) -> list[Heard]:
        """Wait for the first answer, and take all that are there."""
        ray, started = connected(), time.monotonic()
        while True:
            first, rest = ray.wait(list(self._awaited), num_returns=1, timeout=SECONDS_TO_HEAR)
            if first:
                break
            if not any(is_part for _, is_part in self._awaited.values()):
                seconds = time.monotonic() - started
                self._say(f"No worker has started for {seconds:.0f} s; the cluster may have no free place for one.")
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if rest else ([], rest)
        return [self._heard(answer) for answer in (*first, *more)]

    def rest(self) -> None:
        """Tell all to forget the work."""
        self._awaited.clear()
        self._packed = None
        for actor in self._actors.values():
            actor.rest.remote()

    def end(self, workers: Iterable[int]) -> None:
        """Kill these."""
        self._awaited.clear()
        _end({number: self._actors.pop(number) for number in list(workers) if number in self._actors})

    def _start(self, number: int) -> None:
        actor = connected().remote(num_cpus=self._threads, num_gpus=self._gpus, max_restarts=0)(Worker)
        self._actors[number] = actor.remote()

    def _begin(self, number: int) -> None:
        self._awaited[self._actors[number].begin.remote(self._packed)] = (number, False)

    def _heard(self, answer: Any) -> Heard:
        ray = connected()
        worker, is_part = self._awaited.pop(answer)
        try:
            outcome: Outcome = ray.get(answer)
        except ray.exceptions.RayTaskError:
            raise  # a fault of ours: what the work raises travels as a value
        except ray.exceptions.RayError as error:
            _end({worker: self._actors.pop(worker)})
            self._start(worker)
            self._begin(worker)
            return worker, Lost(type(error).__name__)
        return worker, outcome if is_part or outcome.raised is not None else Ready()


@dataclass(frozen=True)
class RayEngine:
    """Parts on a cluster, one a worker at a time; with a folder those that are there already are not made again.

    Raises: ``ImportError`` where Ray is not installed.
    """

    folder: Path | None = None
    run: str = ""  # fingerprint of everything that the results depend on beside the part
    say: Say = to_stderr
    options: EngineOptions = USUAL
    crew: Crew | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        installed()
        if self.crew is None:
            object.__setattr__(self, "crew", RayCrew(self.threads, self.options.gpus))

    @property
    def threads(self) -> int:
        """How many threads each worker has, and processors of the cluster it takes."""
        return self.options.threads or 1

    def map(self, make: Make, parts: Iterable[Part]) -> Iterator[tuple[int, Result]]:
        """Yield the position of each part and its result; every worker calls ``make`` once.

        Raises: what the work raises; ``ValueError`` for work that cannot be sent to a worker; ``RuntimeError`` for a
        part that ends its worker again and again.
        """
        shards = None if self.folder is None else Shards(self.folder, self.run, self.say)
        left: list[Placed] = []
        yield from left_to_make(shards, parts, left)
        if left and self.crew is not None:
            ray = connected((self.options.workers or 1) * self.threads)
            room = int(ray.cluster_resources().get("CPU", 1)) // self.threads
            workers = min(self.options.workers or max(1, room), len(left))
            work = carried(make, self.threads, ray.cloudpickle.dumps)
            yield from mapped(self.crew, work, workers, left, shards, self.say)


def installed() -> Any:
    """Return Ray. Raises: ``ImportError`` where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 - an optional dependency
        import ray.cloudpickle  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackage.of_extra("ray", "Ray", "the engine ray") from error
    return ray


def connected(processors_wanted: int = 1) -> Any:
    """Return Ray, connected to the cluster: that of RAY_ADDRESS, or one on this machine that ends with this process.

    Raises: ``ValueError`` for a cluster that does not answer.
    """
    ray = installed()
    if ray.is_initialized():
        return ray
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "configure_logging": False}
    address = os.environ.get(ADDRESS, "local")
    if address == "local":
        os.environ.setdefault(NICENESS, "0")
        ray.init(address="local", num_cpus=max(processors_wanted, processors()), include_dashboard=False, **quiet)
        _silence(ray)
        return ray
    try:
        ray.init(address=address, **quiet)
        _silence(ray)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise Mistake(
            f"expected a Ray cluster at {ADDRESS}={address}, but none answers; start it with ray start --head, or "
            f"unset {ADDRESS} for one on this machine."
        ) from error
    return ray


def _silence(ray: Any) -> None:
    """Keep what Ray tells of lost workers off stdout, where results go; the engine says it on stderr."""
    with suppress(Exception):  # a version of Ray without it
        ray._private.worker._worker_logs_enabled = False


def _end(actors: dict[int, Any]) -> None:
    ray = installed()
    for actor in actors.values():
        with suppress(Exception):  # Ray may be gone already
            ray.kill(actor)
    actors.clear()
