"""Runs hostile inputs, each in a process of its own with a limit of time and memory, and counts what went wrong.

A class of inputs is a module beside this one with ``cases(folder)``. It yields triples: a name, what is done with the
input, and the verdict. ``refused`` must raise a ``Mistake``, ``taken`` must succeed, and a function judges the result.
"""

import importlib
import json
import os
import resource
import select
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from episodes.errors import Mistake

Verdict = str | Callable[[Any], bool]
Case = tuple[str, Callable[[], object], Verdict]

SECONDS = 20.0
GIGABYTE = 1 << 30
MEMORY = 2 * GIGABYTE  # above what the process had
ADDRESSES = 6 * GIGABYTE  # so that the machine outlives a case that asks for all there is
FAULTS = ("traceback", "hang", "memory", "silent wrong")
HERE = Path(__file__).parent
NO_CLASSES = ("runner", "__main__")


@dataclass
class Count:
    """What became of the cases of one class."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Answered(Mistake):
    """A command that ended with exit code 2 and one sentence."""


def answered(run: Callable[[list[str]], int], *arguments: str) -> str:
    """Run a command line in this process and return what it printed; its exit code 2 is a ``Mistake``."""
    out, told = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(told):
        code = run(list(arguments))
    if code == 2:
        sentence = told.getvalue().strip()
        if "\n" in sentence.replace("\r", "\n") or not sentence:
            raise AssertionError(f"expected one sentence, but got {sentence!r}")
        raise Answered(sentence)
    if code:
        raise AssertionError(f"expected the exit code 0 or 2, but got {code}: {told.getvalue()!r}")
    return out.getvalue() + told.getvalue()


def class_names() -> list[str]:
    """Return the classes of inputs that stand beside this file."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NO_CLASSES)


def run_class(name: str, every: int = 1) -> Count:
    """Run each case of a class, or every so many-th of them."""
    module = importlib.import_module(f"faults.hostile.{name}")
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(module.cases(Path(folder))):
            if number % every == 0:
                kind, told = run_apart(case)
                count.cases += 1
                count.outcomes[kind] += 1
                if kind in FAULTS:
                    count.faults.append(f"{name}: {case[0]}: {kind}: {told}")
    return count


def run_apart(case: Case, seconds: float = SECONDS) -> tuple[str, str]:
    """Run a case in a process of its own and return what became of it, and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_here(case, writing)
    os.close(writing)
    told = _read(reading, time.monotonic() + seconds)
    os.close(reading)
    if told is None:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    if told is None:
        return "hang", f"no answer after {seconds:g} s"
    if not told:
        return "traceback", f"the process ended with {os.waitstatus_to_exitcode(status)}"
    kind, text, baseline = json.loads(told)
    grown = used.ru_maxrss * 1024 - baseline
    return ("memory", f"{grown / GIGABYTE:.1f} GB") if grown > MEMORY else (kind, text)


def _run_here(case: Case, writing: int) -> None:
    """Do what the case says and end this process."""
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    kind, text = judged(case)
    os.write(writing, json.dumps([kind, text[:3000], baseline]).encode())
    os._exit(0)


def judged(case: Case) -> tuple[str, str]:
    """Do what a case says in this process, and judge it."""
    _, act, verdict = case
    try:
        result = act()
    except Mistake as error:
        return ("refused", str(error)) if verdict != "taken" else ("silent wrong", f"refused, but is right: {error}")
    except BaseException as error:  # whatever it is
        return "traceback", f"{type(error).__name__}: {error} {''.join(traceback.format_tb(error.__traceback__)[-2:])}"
    if verdict == "refused":
        return "silent wrong", f"taken as {str(result)[:200]!r}"
    if callable(verdict) and not verdict(result):
        return "silent wrong", f"not what was expected: {str(result)[:200]!r}"
    return "taken", ""


def _read(reading: int, end: float) -> bytes | None:
    """Return what comes through the pipe until it is closed, or None when the time is over."""
    pieces = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        piece = os.read(reading, 65536)
        if not piece:
            return pieces
        pieces += piece


def table(counts: dict[str, Count]) -> Iterator[str]:
    """Yield the lines of the table: for each class the cases, what became of them, and the faults."""
    columns = ("class", "cases", "refused", "taken", "traceback", "hang", "memory", "silent wrong")
    headings = ("class", "cases", "refused", "taken", "tracebacks", "hangs", "over 2 GB", "silent wrongs")
    yield "".join(f"{heading:>14}" for heading in headings)
    total: Counter[str] = Counter()
    for name, count in counts.items():
        row = count.outcomes | Counter({"cases": count.cases})
        total += row
        yield f"{name:>14}" + "".join(f"{row[column]:>14}" for column in columns[1:])
    yield f"{'all':>14}" + "".join(f"{total[column]:>14}" for column in columns[1:])
