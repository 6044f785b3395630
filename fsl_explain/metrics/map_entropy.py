"""How many pixels a map spreads over.

Reference: Bhatt, Weller, Moura, "Evaluating and Aggregating Feature-based Model Explanations", 2020.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import with_float64
from fsl_explain.metrics.positive_part import positive_part, says_something, undefined_unless


@with_float64
def complexity(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch"]:
    """Return the entropy, in nats, of each map's positive part as shares of its mass.

    In [0, log of the number of pixels]: 0 for a single positive pixel, the largest for a constant map. NaN for a map
    without a positive pixel and for one with a NaN or infinite pixel. Smaller is better only as brevity: complexity
    knows no target.
    """
    mass = positive_part(saliency).flatten(1).double()
    shares = mass / mass.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(shares).sum(dim=1)
    return undefined_unless(says_something(saliency), entropy.to(saliency.dtype))
