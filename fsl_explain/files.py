"""Files that are there whole or not at all: written aside, synced, and renamed into place."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give the block a place beside ``path`` to write a file to; it becomes ``path`` when the block ends well.

    If the block fails, the file that was there before stays as it was, and nothing else is left. What a killed
    process has left is removed by the next one that writes the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    aside = path.with_name(f".{path.stem}-{os.getpid()}-{uuid4().hex}{path.suffix}")
    try:
        yield aside
        _sync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that are no more were writing; where the system cannot tell, it stays."""
    name = re.compile(rf"\.{re.escape(path.stem)}-(\d+)-[0-9a-f]{{32}}{re.escape(path.suffix)}")
    for other in path.parent.iterdir():
        writer = name.fullmatch(other.name)
        if writer is not None and not _is_running(int(writer[1])):
            other.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
