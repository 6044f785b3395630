"""Explanations of decisions that vision models make by similarity."""

import lazy_loader as lazy

from episodes.errors import Mistake

__version__ = "0.1.0"
__getattr__, _late, __all__ = lazy.attach_stub(__name__, __file__)
__all__ += ["Mistake"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
