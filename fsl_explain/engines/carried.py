"""What travels between the driver and its workers: the work, parts, results, and exceptions and warnings as values."""

import importlib
import io
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from episodes.errors import Mistake
from fsl_explain.engine import Make, Part, Result, Work
from fsl_explain.freed_memory import keep_freed_memory
from fsl_explain.own_code import LOADED, load_again

Dumps = Callable[[Any], bytes]


@dataclass(frozen=True)
class Carried:
    """A factory of work on its way to a worker, and where the code is that it needs."""

    make: bytes
    own: tuple[tuple[str, str], ...]  # modules of the user's own code, by name, and their files
    folder: str  # the driver's current one
    path: tuple[str, ...]  # where the driver's Python looks for modules
    threads: int

    def work(self) -> Work:
        """Make the work, in the worker."""
        os.chdir(self.folder)
        sys.path.extend(place for place in self.path if place not in sys.path)
        for title, file in self.own:
            if Path(file).is_file():  # what one that is gone made, if anything, says so when it is unpickled
                load_again(title, file)
        torch.set_num_threads(self.threads)
        keep_freed_memory()
        make: Make = pickle.loads(self.make)
        return make()


def carried(make: Make, threads: int, dumps: Dumps) -> Carried:
    """Pack a factory of work. Raises: ``ValueError`` for one that cannot leave this process."""
    try:
        packed = dumps(make)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise Mistake(
            "expected work that can be sent to other processes, but what was given cannot be pickled "
            f"({error}); name functions and classes in a module, or use the engine local."
        ) from error
    path = tuple(os.path.abspath(place) for place in sys.path)  # noqa: PTH100 - "" is the current folder
    return Carried(packed, tuple(LOADED.items()), os.getcwd(), path, threads)  # noqa: PTH109


class _Pickler(pickle.Pickler):
    """Pickle modules, too, by their names: a module may play a role, as similarities and rules do."""

    def reducer_override(self, value: object) -> Any:
        return (importlib.import_module, (value.__name__,)) if isinstance(value, ModuleType) else NotImplemented


def plain_dumps(value: object) -> bytes:
    """Pickle a value."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


@dataclass(frozen=True)
class _Raised:
    """An exception in parts: not every one can be made again from what it was made with, as pickle does it."""

    kind: type[Exception]
    args: tuple[object, ...]
    state: dict[str, Any]

    def again(self) -> Exception:
        """Put it together without calling its constructor."""
        error: Exception = self.kind.__new__(self.kind, *self.args)
        error.__dict__.update(self.state)
        return error


@dataclass(frozen=True)
class Outcome:
    """What became of a part or of the start of a worker: a result, or what was raised."""

    result: Result | None = None
    raised: Exception | _Raised | None = None
    warned: tuple[tuple[str, type[Warning]], ...] = field(default=())

    def taken(self) -> Result:
        """Warn of what was warned of, and return the result or raise, here as there."""
        for text, category in self.warned:
            warnings.warn(text, category, stacklevel=2)
        if self.raised is not None:
            raise self.raised.again() if isinstance(self.raised, _Raised) else self.raised
        return {} if self.result is None else self.result


def outcome_of(act: Callable[[], Result | None]) -> Outcome:
    """Act, and return what came of it in a form that can travel."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        error: Exception | None = None
        result: Result | None = None
        try:
            result = act()
            if result is not None:  # views would travel with all that they are views of
                result = {name: value.detach().clone() for name, value in result.items()}
        except Exception as raised:  # whatever it is, it is raised again in the driver
            error = raised
    warned = tuple((str(one.message), one.category) for one in caught)
    return Outcome(None if error is not None else result, None if error is None else _portable(error), warned)


def begin(message: Carried) -> tuple[Work | None, Outcome]:
    """Make the work, in a worker; None where the outcome is an error."""
    kept: list[Work] = []
    outcome = outcome_of(lambda: kept.append(message.work()))
    return kept[0] if kept else None, outcome


def made(work: Work, part: Part) -> Outcome:
    """Make a part, in a worker."""
    return outcome_of(lambda: work(part))


def _portable(error: Exception) -> Exception | _Raised:
    """Return the exception in a form that can travel, with the place where it was raised as a note."""
    error.add_note(f"It was raised in a worker:\n{''.join(traceback.format_exception(error))}")
    error.__traceback__ = error.__cause__ = error.__context__ = None
    for form in (error, _Raised(type(error), error.args, dict(error.__dict__))):
        try:
            there = pickle.loads(pickle.dumps(form))
            again = there.again() if isinstance(there, _Raised) else there
        except Exception:  # its own code may fail in any way
            continue
        if type(again) is type(error) and str(again) == str(error):
            return form
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note(error.__notes__[-1])
    return told
