"""Memory that a process frees stays with it, so that the next layer's activations need not be asked for again.

The C library of Linux returns every large block to the system the moment it is freed. A network frees its activations
layer by layer, and each new block costs a page fault for every 4 KiB: up to a third of a forward pass on a processor.
Source: ``man 3 mallopt``.
"""

import ctypes
import os
import sys

MOST_KEPT = 2**31 - 1  # bytes: what is free beyond them at the end of the heap goes back to the system
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt, as malloc.h numbers them
CHOSEN_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and return whether it does.

    The command lines and the workers of every engine do so by themselves; a program or notebook of your own calls this
    once, before the first forward pass. Networks then run faster on a processor, the more so the larger the batch;
    numbers do not change. The process shows a somewhat higher peak of memory and holds it while it is idle; only what
    is free at the end of its heap beyond 2 GiB goes back.

    False, and nothing is changed, without the C library of GNU, and where an environment variable such as
    ``MALLOC_MMAP_MAX_`` says already how memory is kept.
    """
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN_BY_USER):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0)) and bool(library.mallopt(TRIM_THRESHOLD, MOST_KEPT))
