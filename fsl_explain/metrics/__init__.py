"""How far an explanation can be trusted: published metrics on maps, masks and scores, batched and without side effects.

Maps are (batch, height, width); signed maps are read by their positive part. A figure that is not defined is NaN.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
