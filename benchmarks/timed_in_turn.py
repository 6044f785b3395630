"""Processor times that can be compared, though the machine is busy: one run after the other in every round."""

import statistics
import time
from collections.abc import Callable, Sequence


def in_turn(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median processor time of each, one after the other in every round."""
    taken: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(rounds):
        for run, times in zip(runs, taken, strict=True):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
    return [statistics.median(times) for times in taken]
