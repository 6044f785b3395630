"""Contributions integrated on the straight path from zero maps to an image's own.

Source: Aumann and Shapley, 1974; Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017.
Notation: A ⊙ ∫₀¹ ∂Δ(aA)/∂A da adds up to Δ(A) - Δ(0) whatever lies between the maps and the score Δ. The integral is
taken by Gauss-Legendre, whose nodes are doubled until that law holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.batches import slices
from fsl_explain.explainers.tails import Tail, tolerance_of

STEPS = (8, 16, 32, 64, 128, 256, 512)
ENOUGH = 1e-5  # of the absolute terms; a finer tolerance is sought only as long as a doubling brings much
MUCH = 4.0
MAPS_TOGETHER = 64
"""Maps in one pass through the tail."""


@dataclass(frozen=True)
class StraightPath:
    """Images on the way from zero maps to their own, all at the same fraction of it, and a score of their embeddings.

    Each image has a row of maps; ``images`` are the pixels behind them, where the tail asks for them.
    """

    maps: Float[Tensor, "image channel h w"]
    images: Float[Tensor, "image color height width"] | None
    tail: Tail
    score: Callable[[Float[Tensor, "node image embedding"]], Float[Tensor, "node"]]

    def embeddings(self, points: Float[Tensor, "node image channel h w"]) -> Float[Tensor, "node image embedding"]:
        """Return the embeddings in float64 of the images at other maps."""
        images, nodes = self.images, len(points)
        repeated = None if images is None else images.repeat(nodes, *(1,) * (images.dim() - 1))
        embeddings: Tensor = self.tail(points.flatten(0, 1), repeated).double()
        return embeddings.reshape(nodes, -1, embeddings.shape[-1])

    def at_zero(self) -> Float[Tensor, "image embedding"]:
        """Return the embeddings at zero maps."""
        with torch.inference_mode(False):
            return self.embeddings(torch.zeros_like(self.maps)[None])[0].detach()


@dataclass(frozen=True)
class Integrated:
    """What each activation adds to a score, what the score is without any, and how that was found."""

    addends: Float[Tensor, "image channel h w"]  # in float64
    at_zero: Float[Tensor, ""]  # Δ(0)
    steps: int
    missed: float  # |Σ addends + Δ(0) - Δ| of the sum of the absolute terms


def integrate(path: StraightPath, whole: Float[Tensor, ""]) -> Integrated:
    """Integrate along a path until the addends and Δ(0) make up the ``whole`` score Δ, or 512 steps are taken.

    They are to miss it by at most 1e-5 of their absolute sum, whether summed by channels or by cells first; in
    float64 by 1e-10 as long as a doubling of the steps pays. Of what was tried, that which misses least is returned.
    """
    with torch.no_grad():
        at_zero = path.score(path.at_zero()[None])[0].detach()
    tolerance = tolerance_of(path.tail, path.maps)
    best: Integrated | None = None
    for steps in STEPS:
        found = _with_steps(path, steps, at_zero, whole)
        paid = best is None or found.missed * MUCH < best.missed
        best = found if best is None or found.missed < best.missed else best
        if best.missed <= tolerance or (best.missed <= ENOUGH and not paid):
            break
    assert best is not None
    return best


def _with_steps(path: StraightPath, steps: int, at_zero: Float[Tensor, ""], whole: Float[Tensor, ""]) -> Integrated:
    nodes, weights = (part.to(path.maps.device) for part in _gauss_legendre(steps))
    slope = torch.zeros_like(path.maps, dtype=torch.float64)
    for part in slices(steps, max(1, MAPS_TOGETHER // len(path.maps))):
        slope += torch.einsum("n,nichw->ichw", weights[part], _slopes(path, nodes[part]))
    addends = path.maps.double() * slope
    terms = torch.minimum(addends.sum(dim=1).abs().sum(), addends.sum(dim=(-2, -1)).abs().sum()) + at_zero.abs()
    missed = float((addends.sum() + at_zero - whole).abs() / terms) if float(terms) > 0 else float(whole.abs() > 0)
    return Integrated(addends, at_zero, steps, missed)


def _slopes(path: StraightPath, nodes: Float[Tensor, "node"]) -> Float[Tensor, "node image channel h w"]:
    """Return the derivative of the score by the maps at fractions of them."""
    with torch.inference_mode(False), torch.enable_grad():
        fractions = nodes.to(path.maps)[:, None, None, None, None]
        points = (fractions * path.maps.detach().clone()[None]).requires_grad_()
        score = path.score(path.embeddings(points)).sum()
        (slope,) = torch.autograd.grad(score, points)
    return slope.double()


@cache
def _gauss_legendre(steps: int) -> tuple[Float[Tensor, "node"], Float[Tensor, "node"]]:
    """Return the nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    with torch.inference_mode(False):
        return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
