"""How concentrated a map is.

Reference: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", 2020 (the Gini index
of an attribution); Hurley and Rickard, "Comparing Measures of Sparsity", 2009.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import with_float64
from fsl_explain.metrics.batching import a_few_at_a_time
from fsl_explain.metrics.pixel_ranking import ascending_values
from fsl_explain.metrics.positive_part import says_something, undefined_unless


@with_float64
@a_few_at_a_time
def sparseness(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch"]:
    """Return the Gini index of the positive part of each map: 0 for a constant map, larger is more concentrated.

    A single positive pixel among n scores 1 - 1/n. NaN for a map without a positive pixel and for one with a NaN or
    infinite pixel. Larger is better only as brevity: sparseness knows no target.
    """
    gini = gini_index(ascending_values(saliency))
    return undefined_unless(says_something(saliency), gini.to(saliency.dtype))


@with_float64
def gini_index(ascending: Float[Tensor, "batch pixel"]) -> Float[Tensor, "batch"]:
    """Return the Gini index of rows of values in ascending order, none negative, in double precision."""
    pixels = ascending.shape[1]
    # Doubles, because the ranks of a large image times small values cancel in float32.
    rank = torch.arange(1, pixels + 1, device=ascending.device, dtype=torch.float64)
    doubles = ascending.double()
    return doubles @ (2 * rank - pixels - 1) / (pixels * doubles.sum(dim=1))
