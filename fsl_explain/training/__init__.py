"""Training of encoders: in episodes, on pairs, on instances; resumable to the same weights."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
