"""Threads that wait for one another without keeping a processor from the one that they wait for.

OpenMP's threads, by which PyTorch divides an operation on a processor, wait in a loop. Where another program has one of
the processors, the loop takes the time that the thread behind needs: a command may take many times as long. Source:
the manual of libgomp, ``GOMP_SPINCOUNT``.
"""

import os
import sys

TURNS = 10_000  # of the loop, some microseconds; then a thread sleeps until it is woken
CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly() -> bool:
    """Let threads wait for microseconds and then sleep, and return whether they will.

    The command lines do so by themselves, and the processes that they start do as they do. A program of your own calls
    this before it imports torch, which reads the choice once. Numbers do not change.

    False, and nothing is changed, where torch is imported already, and where ``GOMP_SPINCOUNT`` or ``OMP_WAIT_POLICY``
    in the environment says how threads wait.
    """
    if "torch" in sys.modules or any(name in os.environ for name in CHOSEN_BY_USER):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(TURNS)
    return True
