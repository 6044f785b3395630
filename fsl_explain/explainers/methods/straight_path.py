"""Contributions integrated on the straight path from zero maps to an image's own.

Source: Aumann and Shapley, 1974; Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017.
Notation: A ⊙ ∫₀¹ ∂Δ(aA)/∂A da adds up to Δ(A) - Δ(0) whatever lies between the maps and the score Δ. The integral is
taken by Gauss-Legendre, whose nodes are doubled until that law holds, or the path cut where it does not.
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


@dataclass(frozen=True)
class StraightPath:
    """Images on the way from zero maps to their own, all at the same fraction of it, and a score of their embeddings.

    Each image has a row of maps; ``images`` are the pixels behind them, where the tail asks for them. ``enough``
    is what may be missed of the absolute terms; None: as little as the numbers of the maps allow.
    """

    maps: Float[Tensor, "image channel h w"]
    images: Float[Tensor, "image color height width"] | None
    tail: Tail
    score: Callable[[Float[Tensor, "node image embedding"]], Float[Tensor, "node"]]
    enough: float | None = None
    longest: int = STEPS[-1]  # steps at most
    together: int = MAPS_TOGETHER  # maps in one pass through the tail

    @property
    def tolerance(self) -> float:
        """By how much of their absolute sum the addends may miss what they have to add up to; less is not sought."""
        return tolerance_of(self.tail, self.maps) if self.enough is None else self.enough

    @property
    def most(self) -> float:
        """By how much they may miss it before the path is cut."""
        return max(self.tolerance, ENOUGH)

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
    """Integrate along a path until the addends and Δ(0) make up the ``whole`` score Δ, or all steps are taken.

    They are to miss it by at most 1e-5 of their absolute sum, whether summed by channels or by cells first; in
    float64 by 1e-10 as long as a doubling of the steps pays. Where it pays no more, as behind ReLU, whose derivative
    jumps, the path is cut instead where most is missed. Of what was tried, that which misses least is returned.
    """
    with torch.no_grad():
        at_zero = path.score(path.at_zero()[None])[0].detach()
    best: Integrated | None = None
    for steps in (one for one in STEPS if one <= path.longest):
        (piece,) = _pieces(path, [(0.0, 1.0)], steps)
        found = _found(path, piece.slope, at_zero, whole, steps)
        paid = best is None or found.missed * MUCH < best.missed
        best = found if best is None or found.missed < best.missed else best
        if best.missed <= path.tolerance or not paid:
            break
    assert best is not None
    is_enough = best.missed <= path.most or path.longest < 2 * STEPS[0]
    return best if is_enough else _cut(path, at_zero, whole, best)


def _cut(path: StraightPath, at_zero: Float[Tensor, ""], whole: Float[Tensor, ""], best: Integrated) -> Integrated:
    """Cut the path in halves, again and again where a piece misses most of what its ends say that it adds."""
    pieces = _pieces(path, [(0.0, 0.5), (0.5, 1.0)], STEPS[0])
    while best.missed > path.most:
        slope = torch.stack([piece.slope for piece in pieces]).sum(dim=0)
        found = _found(path, slope, at_zero, whole, STEPS[0] * len(pieces))
        best = found if found.missed < best.missed else best
        room = path.longest // STEPS[0] - len(pieces)
        worst = sorted(pieces, key=lambda piece: -piece.missed)[: min(room, max(2, len(pieces) // 2))]
        if not worst:
            break
        middles = [(piece.start + piece.end) / 2 for piece in worst]
        halves = [(piece.start, middle) for piece, middle in zip(worst, middles, strict=True)]
        halves += [(middle, piece.end) for piece, middle in zip(worst, middles, strict=True)]
        pieces = [piece for piece in pieces if piece not in worst] + _pieces(path, halves, STEPS[0])
    return best


@dataclass(frozen=True, eq=False)
class _Piece:
    """A part of the path, the integral of the derivative over it, and by how much that misses the difference."""

    start: float
    end: float
    slope: Float[Tensor, "image channel h w"]
    missed: float


def _pieces(path: StraightPath, parts: list[tuple[float, float]], steps: int) -> list[_Piece]:
    """Integrate over parts of the path, each by as many steps."""
    nodes, weights = _gauss_legendre(steps)
    starts, ends = torch.tensor(parts, dtype=torch.float64).unbind(dim=1)
    places = (starts[:, None] + (ends - starts)[:, None] * nodes).flatten()
    scales = ((ends - starts)[:, None] * weights).flatten().to(path.maps.device)
    slopes = [torch.zeros_like(path.maps, dtype=torch.float64) for _ in parts]
    for part in slices(len(places), max(1, path.together // len(path.maps))):
        for place, slope in zip(range(part.start, part.stop), _slopes(path, places[part]), strict=True):
            slopes[place // steps] += scales[place] * slope
    if len(parts) == 1:
        return [_Piece(*parts[0], slopes[0], 0.0)]
    differences = _scores(path, ends) - _scores(path, starts)
    sums = torch.stack([(path.maps.double() * slope).sum() for slope in slopes])
    missed = (sums - differences).abs().tolist()
    return [_Piece(*part, slope, miss) for part, slope, miss in zip(parts, slopes, missed, strict=True)]


def _found(
    path: StraightPath,
    slope: Float[Tensor, "image channel h w"],
    at_zero: Float[Tensor, ""],
    whole: Float[Tensor, ""],
    steps: int,
) -> Integrated:
    addends = path.maps.double() * slope
    terms = torch.minimum(addends.sum(dim=1).abs().sum(), addends.sum(dim=(-2, -1)).abs().sum()) + at_zero.abs()
    missed = float((addends.sum() + at_zero - whole).abs() / terms) if float(terms) > 0 else float(whole.abs() > 0)
    return Integrated(addends, at_zero, steps, missed)


def _scores(path: StraightPath, places: Float[Tensor, "node"]) -> Float[Tensor, "node"]:
    """Return the score at fractions of the path."""
    found = []
    with torch.no_grad(), torch.inference_mode(False):
        for part in slices(len(places), max(1, path.together // len(path.maps))):
            fractions = places[part].to(path.maps)[:, None, None, None, None]
            found.append(path.score(path.embeddings(fractions * path.maps.detach().clone()[None])).detach())
    return torch.cat(found)


def _slopes(path: StraightPath, places: Float[Tensor, "node"]) -> Float[Tensor, "node image channel h w"]:
    """Return the derivative of the score by the maps at fractions of the path."""
    with torch.inference_mode(False), torch.enable_grad():
        fractions = places.to(path.maps)[:, None, None, None, None]
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
