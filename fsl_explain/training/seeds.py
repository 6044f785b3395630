"""Randomness as a function of (seed, step, place): a training goes on from any step as if it had never stopped."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fsl_explain.turns import RANDOM_NUMBERS, alone

CPU = torch.device("cpu")


@contextmanager
def seeded(*numbers: int, device: torch.device = CPU) -> Iterator[None]:
    """Let PyTorch's random numbers in the block depend on ``numbers`` alone; the caller's state comes back after it.

    Those of the CPU, and of ``device`` where that is another; no other device is touched, because a process that
    prepares batches must not. Other threads that seed them wait meanwhile.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    others = [device] if device.type == "cuda" else []
    with alone([RANDOM_NUMBERS]), torch.random.fork_rng(others):
        torch.default_generator.manual_seed(seed)
        for other in others:
            with torch.cuda.device(other):
                torch.cuda.manual_seed(seed)
        yield
