"""What is looked at: labeled images with boxes or masks, named splits, seeded episodes."""

import lazy_loader as lazy

__version__ = "0.1.0"
__getattr__, _late, __all__ = lazy.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
