"""One engine of each kind for all tests of a process: workers take seconds to import torch; they end with it."""

import functools

from fsl_explain.engine import ENGINES, LOCAL, EngineOptions

WITH_WORKERS = [name for name in ENGINES if name != LOCAL]
WORKERS = 2


@functools.cache
def started(name):
    return ENGINES[name](None, "", print, EngineOptions(name, None if name == LOCAL else WORKERS))
