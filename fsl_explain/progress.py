"""How long work says how far it is: one callable, told a stage and what is done of it."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]  # stage, units done since the last call, units in all (0: unknown)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
