"""One writer of a file, by what the system has: ``flock``, ``msvcrt.locking``, or a file that must be new."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from episodes.errors import Busy
from fsl_explain.files import is_running

HELD = ".held"  # ends the name of the file that is there only while somebody writes
OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Be the only one who has the lock while the block runs; ``what`` is named to all others.

    The system frees the lock of a killed process. Where it has no locks, a file named after this one stands there
    meanwhile; what a killed process left is taken over where the system tells that the process is no more.

    Raises: ``BlockingIOError`` where another has the lock.
    """
    flock, locking = _module("fcntl"), _module("msvcrt")
    handle = os.open(path, OPEN, 0o644)
    try:
        if flock is None and locking is None:
            with _new_file(path.with_name(f"{path.name}{HELD}"), what):
                yield
            return
        try:
            if flock is not None:
                flock.flock(handle, flock.LOCK_EX | flock.LOCK_NB)
            elif locking is not None:
                locking.locking(handle, locking.LK_NBLCK, 1)
        except OSError:
            raise Busy(f"another process is writing to {what}; wait until it is done.") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _new_file(path: Path, what: str) -> Iterator[None]:
    _remove_if_left(path)
    try:
        handle = os.open(path, OPEN | os.O_EXCL, 0o644)
    except FileExistsError:
        raise Busy(
            f"another process is writing to {what}; wait until it is done, or delete {path} if there is none."
        ) from None
    try:
        os.write(handle, str(os.getpid()).encode())
    finally:
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _remove_if_left(path: Path) -> None:
    try:
        writer = int(path.read_text("ascii"))
    except (OSError, ValueError):
        return
    if not is_running(writer):
        path.unlink(missing_ok=True)


def _module(name: str) -> ModuleType | None:
    """Return a module of the system's, None where it has none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
