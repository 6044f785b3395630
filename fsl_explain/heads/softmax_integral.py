"""The integral of a softmax along the ray from the zero vector, and the log-mean-exp it belongs to.

Notation: x holds the exponents of one row of cells, none above 0. The integrand softmax_p(a x) is smooth in a up
to the zeros of Σ_p exp(a x_p), which lie about 1/range(x) from a = 0 and ever farther from larger a. With
a = sinh(κ t)/sinh(κ) they keep one distance from the interval of t, so that few Gauss-Legendre nodes suffice.
"""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NODES = (16, 32, 64, 128, 256, 512)
BLOCK = 2**17  # exponents at a time: what a processor's cache holds


def log_mean_exp(exponents: Float[Tensor, "*rows cells"]) -> Float[Tensor, "*rows"]:
    """Return log mean_p exp(x_p) of exponents that are at most 0 and hold a 0 in every row.

    The mean of exp(x) - 1 keeps its digits for small exponents, the mean of exp(x) for large ones.
    """
    below = torch.expm1(exponents)
    mean = below.mean(dim=-1)
    return torch.where(mean > -0.5, mean.log1p(), (below + 1).mean(dim=-1).log())


def softmax_integral(exponents: Float[Tensor, "rows cells"]) -> Float[Tensor, "rows cells"]:
    """Return ∫₀¹ softmax_p(a x) da of each row: its average share of the softmax between 0 and x.

    Exponents are at most 0 and hold a 0 in every row. Law: Σ_p x_p times the integral is ``log_mean_exp(x)``;
    the nodes are doubled for the rows that miss it by more than a few roundings.
    """
    rows = max(1, BLOCK // exponents.shape[-1])
    return torch.cat([_refined(block.T.contiguous()).T for block in exponents.split(rows)])


def _refined(exponents: Float[Tensor, "cells rows"]) -> Float[Tensor, "cells rows"]:
    eps = torch.finfo(exponents.dtype).eps
    first, *more = NODES if eps > 1e-10 else NODES[1:]
    expected, tolerance = log_mean_exp(exponents.T), 8 * eps * exponents.abs().amax(dim=0)
    integral = _quadrature(exponents, first)
    for nodes in more:
        missed = ((exponents * integral).sum(dim=0) - expected).abs() > tolerance
        if not missed.any():
            break
        integral[:, missed] = _quadrature(exponents[:, missed], nodes)
    return integral


def _quadrature(exponents: Float[Tensor, "cells rows"], nodes: int) -> Float[Tensor, "cells rows"]:
    """Integrate with one stretch for all rows, that of the widest; the others need less and lose little."""
    widest = -float(torch.nan_to_num(exponents).amin())
    stretch = max(math.asinh(widest / 6), 1e-3)
    points, weights = _gauss_legendre(nodes)
    positions = np.sinh(stretch * points) / math.sinh(stretch)
    speeds = stretch * np.cosh(stretch * points) / math.sinh(stretch)
    integral = torch.zeros_like(exponents)
    for position, weight in zip(positions.tolist(), (weights * speeds).tolist(), strict=True):
        powers = (position * exponents).exp_()
        integral.addcmul_(powers, weight / powers.sum(dim=0))
    return integral


@functools.cache
def _gauss_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights on [0, 1].

    The weights are those of Christoffel, 1/Σ_k (k + ½) P_k(x)²: a sum of squares, exact to the last digit,
    where numpy's own are 1e-13 off for hundreds of nodes.
    """
    points, _ = np.polynomial.legendre.leggauss(nodes)
    values = np.polynomial.legendre.legvander(points, nodes - 1)
    return (points + 1) / 2, 0.5 / (values**2 @ (np.arange(nodes) + 0.5))
