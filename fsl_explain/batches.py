"""Long work a few at a time: one home for cutting a number of things into slices."""

from collections.abc import Iterator

from episodes.errors import Mistake


def check_batch_size(size: int) -> None:
    """Refuse batches of nothing. Raises: ``ValueError``."""
    if size < 1:
        raise Mistake(f"expected a batch size of at least 1, but got {size}.")


def slices(count: int, size: int) -> Iterator[slice]:
    """Return consecutive slices of at most ``size`` that cover ``count`` things, in order."""
    check_batch_size(size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
