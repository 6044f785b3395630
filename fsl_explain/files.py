"""Files that are there whole or not at all: written aside, synced, and renamed into place."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from episodes.errors import Mistake

TRIES, SECONDS_BETWEEN = 10, 0.02


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give the block a place beside ``path`` to write a file to; it becomes ``path`` when the block ends well.

    If the block fails, the file that was there before stays as it was, and nothing else is left. What a killed
    process has left is removed by the next one that writes the same file.

    Raises: ``ValueError`` where the folder of the path is a file.
    """
    make_folder(path.parent)
    _remove_leftovers(path)
    aside = path.with_name(f".{path.stem}-{os.getpid()}-{uuid4().hex}{path.suffix}")
    try:
        yield aside
        sync(aside)
        patiently(lambda: aside.replace(path))
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, unless it is there. Raises: ``ValueError`` where a file is in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Mistake(f"expected {folder} to be a folder, but it is a file, or lies in one; name another.") from error


def as_path(given: str | Path | None) -> Path | None:
    """Return a path that may be given as a text, or not at all."""
    return None if given is None else Path(given)


def sync(path: Path) -> None:
    """Wait until a file is on the disk, or the names in a folder, where the system lets folders be opened."""
    if path.is_dir():
        with suppress(PermissionError):  # Windows writes the names by itself
            _sync(os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        return
    mode = os.O_RDONLY if os.name == "posix" else os.O_RDWR  # Windows wants a handle that may write
    _sync(os.open(path, mode | getattr(os, "O_CLOEXEC", 0)))


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def patiently(rename: Callable[[], object]) -> None:
    """Rename, and try again for a moment where Windows forbids it because somebody just reads what is replaced."""
    for _ in range(TRIES):
        try:
            rename()
        except PermissionError:
            time.sleep(SECONDS_BETWEEN)
        else:
            return
    rename()


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that are no more were writing; where the system cannot tell, it stays."""
    name = re.compile(rf"\.{re.escape(path.stem)}-(\d+)-[0-9a-f]{{32}}{re.escape(path.suffix)}")
    for other in path.parent.iterdir():
        writer = name.fullmatch(other.name)
        if writer is not None and not is_running(int(writer[1])):
            other.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Tell whether a process is at work; True where the system cannot tell."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
