"""Whether the parts of an explanation add up to the score that it explains.

References: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017 (completeness); Bach et al., 2015
(conservation).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import with_float64


@with_float64
def completeness_error(
    contributions: Float[Tensor, "batch *parts"], bias: Float[Tensor, "batch"], scores: Float[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """Return how far the contributions and the bias miss the score, as a share of its absolute value.

    0 is complete, 1 is what an explanation of zeros gets, and there is no upper end. Smaller is better. Read signed
    and unscaled: a map that was rescaled adds up to nothing. NaN for a score of 0, and where anything is NaN. For how
    much of an error is rounding, compare it with the sum of the absolute contributions.
    """
    total = contributions.flatten(1).double().sum(dim=1) + bias
    error = (scores - total).abs() / scores.abs()
    return torch.where(scores == 0, torch.nan, error).to(scores.dtype)
