"""Long work a few at a time: one home for cutting a number of things into slices."""

from collections.abc import Iterator


def slices(count: int, size: int) -> Iterator[slice]:
    """Return consecutive slices of at most ``size`` that cover ``count`` things, in order."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
