"""Long work a few at a time: one home for cutting a number of things into slices, and for reading the next ones."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from episodes.errors import Mistake

Given = TypeVar("Given")
Read = TypeVar("Read")


def check_batch_size(size: int) -> None:
    """Refuse batches of nothing. Raises: ``ValueError``."""
    if size < 1:
        raise Mistake(f"expected a batch size of at least 1, but got {size}.")


def slices(count: int, size: int) -> Iterator[slice]:
    """Return consecutive slices of at most ``size`` that cover ``count`` things, in order."""
    check_batch_size(size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def read_ahead(
    read: Callable[[Given], Read], things: Sequence[Given], size: int, threads: int
) -> Iterator[Iterator[Read]]:
    """Yield what is read of things, ``size`` at a time and in order, while threads read the next batch.

    An error of reading is raised where its thing is taken. A batch that is not taken whole is read all the same.
    """
    coming: deque[Iterator[Read]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as readers:
        for part in slices(len(things), size):
            coming.append(readers.map(read, things[part]))
            if len(coming) > 1:
                yield coming.popleft()
        while coming:
            yield coming.popleft()
