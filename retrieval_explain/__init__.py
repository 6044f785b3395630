"""Explanations of what a search in a bank of images returns."""

import lazy_loader as lazy

from episodes import __version__ as __version__
from episodes.errors import Mistake

__getattr__, _late, __all__ = lazy.attach_stub(__name__, __file__)
__all__ += ["Mistake"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
