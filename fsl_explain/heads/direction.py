"""Length and direction of embeddings of any size: one rule for what is zero, and no norm that is lost in rounding.

Values are first multiplied by a power of two, which is exact, so that their squares neither vanish nor overflow. Only a
vector whose every value is zero has no direction. At ordinary norms the results are those without the factor, bit by
bit.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.devices import HALF


def direction(values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    """Return vectors of norm 1; a zero vector stays zero."""
    if values.dtype in HALF:
        return direction(values.float()).to(values.dtype)
    near_one = values * _factor(values)
    norm = near_one.norm(dim=-1, keepdim=True)
    return near_one / torch.where(norm > 0, norm, 1)


def length(values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch"]:
    """Return Euclidean norms; 0 of zero vectors alone, unless the norm itself is too small a number."""
    if values.dtype in HALF:
        return length(values.float()).to(values.dtype)
    factor = _factor(values)
    norm: Tensor = (values * factor).norm(dim=-1)
    return norm / factor.squeeze(-1)


def is_zero(values: Float[Tensor, "*batch channel"]) -> Bool[Tensor, "*batch"]:
    """Return which vectors are zero, and have no direction: those whose every value is."""
    return (values == 0).all(dim=-1)


def _factor(values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch 1"]:
    """Return the power of two that brings the largest absolute value near 1."""
    largest = values.detach().abs().amax(dim=-1, keepdim=True)
    exponent = torch.frexp(largest).exponent.clamp(-_EXPONENTS[values.dtype], _EXPONENTS[values.dtype])
    return torch.ldexp(torch.ones_like(largest), -exponent)


_EXPONENTS = {torch.float32: 126, torch.float64: 1022}
