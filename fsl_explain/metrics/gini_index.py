"""How concentrated a map is.

Reference: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", 2020 (the Gini index
of an attribution); Hurley and Rickard, "Comparing Measures of Sparsity", 2009.
"""

from functools import lru_cache

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
    ascending = ascending_values(saliency).double()
    gini = gini_index(ascending, ascending.sum(dim=1))
    return undefined_unless(says_something(saliency), gini.to(saliency.dtype))


@with_float64
def gini_index(ascending: Float[Tensor, "batch pixel"], mass: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Return the Gini index of rows of values in ascending order, none negative, whose sums are ``mass``.

    All of them in double precision, because the ranks of a large image times small values cancel in single.
    """
    pixels = ascending.shape[1]
    return ascending @ _weights_of_ranks(pixels, ascending.device) / (pixels * mass)


@lru_cache(maxsize=4)
@torch.inference_mode(mode=False)  # kept for later calls, which may take gradients
def _weights_of_ranks(pixels: int, device: torch.device) -> Float[Tensor, "pixel"]:
    return 2 * torch.arange(1, pixels + 1, device=device, dtype=torch.float64) - pixels - 1
