"""Rules by which a linear layer z_j = Σ_i x_i w_ij + b_j splits the relevance of its outputs among its inputs.

Notation: P_j and N_j are the sums of the positive and of the negative products x_i w_ij, R_j is the relevance of an
output. Law: what goes to the inputs and what is left sum to the relevance, image by image. What is left stays at the
cell of its output: the share of the bias under rules that give it one, and all of an output whose products vanish.

Sources: Bach et al., 2015 (ε, z⁺); Montavon et al., 2019 (γ; composites by depth); abs splits as the z⁺ rule does, by
absolute values, so that Σ|R| cannot grow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from episodes.errors import Mistake

TINY = 1e8  # smallest normal numbers


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer at the values that it read.

    ``values`` are x, rows of images first; ``weight`` is w, None where all weights are positive and
    part of the operation; ``bias`` is b, in a shape that goes with the outputs. ``forward`` gives Σ_i x_i w_ij of x and
    w; ``backward`` gives Σ_j w_ij s_j of s and w, s with queries leading. ``depth`` is how many doublings of the grid
    lie behind the layer.
    """

    values: Tensor
    weight: Tensor | None
    bias: Tensor | None
    forward: Callable[[Tensor, Tensor | None], Tensor]
    backward: Callable[[Tensor, Tensor | None], Tensor]
    depth: int = 0

    def signed_sums(self) -> tuple[Tensor, Tensor]:
        """Return P and N."""
        positive, negative = self.values.clamp(min=0), self.values.clamp(max=0)
        if self.weight is None:
            return self.forward(positive, None), self.forward(negative, None)
        up, down = self.weight.clamp(min=0), self.weight.clamp(max=0)
        if bool((negative == 0).all()):
            return self.forward(positive, up), self.forward(positive, down)
        ups = self.forward(positive, up) + self.forward(negative, down)
        return ups, self.forward(positive, down) + self.forward(negative, up)

    @cached_property
    def sizes(self) -> tuple[Tensor, Tensor | None]:
        """Return |x| and |w|."""
        return self.values.abs(), None if self.weight is None else self.weight.abs()

    def sums(self) -> Tensor:
        """Return P + N."""
        return self.forward(self.values, self.weight)

    def absolute_sums(self) -> Tensor:
        """Return P - N."""
        return self.forward(*self.sizes)

    def handed_absolutely(self, factor: Tensor) -> Tensor:
        """Return Σ_j |x_i w_ij| factor_j."""
        values, weight = self.sizes
        return values * self.backward(factor, weight)

    def handed_by_size(self, even: Tensor, uneven: Tensor | None) -> Tensor:
        """Return Σ_j x_i w_ij even_j + |x_i w_ij| uneven_j."""
        found = self.values * self.backward(even, self.weight)
        return found if uneven is None else found + self.handed_absolutely(uneven)

    def handed(self, up: Tensor, down: Tensor) -> Tensor:
        """Return Σ_j (x_i w_ij)⁺ up_j + (x_i w_ij)⁻ down_j."""
        positive, negative = self.values.clamp(min=0), self.values.clamp(max=0)
        if self.weight is None:
            return positive * self.backward(up, None) + negative * self.backward(down, None)
        above, below = self.weight.clamp(min=0), self.weight.clamp(max=0)
        found = positive * (self.backward(up, above) + self.backward(down, below))
        if bool((negative == 0).all()):
            return found
        return found + negative * (self.backward(up, below) + self.backward(down, above))


class Split(NamedTuple):
    """What goes to the ``inputs`` of a layer, and what is ``left`` at its outputs; None: nothing."""

    inputs: Tensor
    left: Tensor | None = None


@runtime_checkable
class PullbackRule(Protocol):
    """How a linear layer splits relevance; ``reads_biases`` says whether a bias takes a share of its own.

    Law: what goes to the inputs and what is left sum to the relevance, image by image.
    """

    @property
    def reads_biases(self) -> bool:
        """Whether biases, those of batch normalization among them, take shares."""
        ...

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split the relevance (query, row, …) of the outputs, which ``layer.forward`` gives as (row, …)."""
        ...


@dataclass(frozen=True)
class Absolute:
    """R_i = |x_i| Σ_j |w_ij| R_j / Σ_i |x_i w_ij|; biases take nothing."""

    reads_biases: bool = False

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by absolute products."""
        factor, left = _divided(relevance, layer.absolute_sums())
        return Split(layer.handed_absolutely(factor), left)


@dataclass(frozen=True)
class Gamma:
    """The generalized γ rule: products, and the bias, of the sign of the output count 1 + γ times.

    s_j = R_j / (z_j + γ (P_j + b_j⁺)) for z_j ≥ 0, with N_j and b_j⁻ for z_j < 0; products of that sign get
    (1 + γ) x_i w_ij s_j, others x_i w_ij s_j, and the bias (b_j + γ b_j^±) s_j. ``gamma`` is at least 0. ``by_depth``
    multiplies γ with every doubling of the grid that lies behind the layer.

    Raises: ``ValueError`` for a γ that is negative, a factor that is not above 0, or one of both that is not finite.
    """

    gamma: float = 0.25
    by_depth: float = 1.0
    reads_biases: bool = True

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and self.by_depth > 0 and math.isfinite(self.gamma + self.by_depth)):
            raise Mistake(
                f"expected finite gamma of at least 0 and by_depth above 0, but got {self.gamma}, {self.by_depth}."
            )

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products, those of the output's sign favored."""
        return _favoring(layer, relevance, self.gamma * self.by_depth**layer.depth, layer.bias)


@dataclass(frozen=True)
class SharedGamma:
    """The γ rule without biases: shares ((1 + γ) z⁺ + z⁻) / ((1 + γ) P + N) where P + N ≥ 0, mirrored otherwise.

    Raises: ``ValueError`` for a ``gamma`` that is not finite and above 0; without it the shares have no bound.
    """

    gamma: float = 0.25
    reads_biases: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise Mistake(f"expected a finite gamma above 0, but got {self.gamma}.")

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products, those of the sign of their sum favored."""
        return _favoring(layer, relevance, self.gamma, None)


@dataclass(frozen=True)
class Epsilon:
    """s_j = R_j / (z_j ± ε), the sign that of z_j; the bias gets b_j s_j, and what ε takes is left, too.

    ``epsilon`` is in units of the root mean square of the layer's outputs, above 0.

    Raises: ``ValueError`` for another ε, or one that is not finite.
    """

    epsilon: float = 0.1
    reads_biases: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise Mistake(f"expected a finite epsilon above 0, but got {self.epsilon}.")

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products as they are."""
        sums = layer.sums()
        outputs = sums if layer.bias is None else sums + layer.bias
        size = outputs.square().flatten(start_dim=1).mean(dim=1).sqrt()
        absorbed = self.epsilon * size.reshape(-1, *[1] * (outputs.dim() - 1))
        whole = outputs + torch.where(outputs >= 0, absorbed, -absorbed)
        factor, rest = _divided(relevance, whole)
        return Split(layer.handed_by_size(factor, None), _with(factor * (whole - sums), rest))


@dataclass(frozen=True)
class Positive:
    """The z⁺ rule: R_i = Σ_j (x_i w_ij)⁺ R_j / P_j; negative products and biases take nothing."""

    reads_biases: bool = False

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by positive products."""
        positive, _ = layer.signed_sums()
        factor, left = _divided(relevance, positive)
        return Split(layer.handed(factor, torch.zeros_like(factor)), left)


def _favoring(layer: LinearLayer, relevance: Tensor, gamma: float, bias: Tensor | None) -> Split:
    """Let products, and a bias, of the sign of the output count 1 + γ times.

    With A = P - N, P = (z - b + A) / 2 and N = (z - b - A) / 2, so that the divisor is (1 + γ/2) z + σ γ/2 (A + |b|)
    for the sign σ of the output, and a product gets (1 + γ/2) x_i w_ij + σ γ/2 |x_i w_ij| of its factor.
    """
    outputs, sizes = layer.sums(), layer.absolute_sums()
    if bias is not None:
        outputs, sizes = outputs + bias, sizes + bias.abs()
    half = torch.copysign(outputs.new_tensor(gamma / 2), outputs)
    factor, rest = _divided(relevance, (1 + gamma / 2) * outputs + half * sizes)
    even, uneven = (1 + gamma / 2) * factor, half * factor
    inputs = layer.handed_by_size(even, uneven)
    return Split(inputs, rest if bias is None else _with(even * bias + uneven * bias.abs(), rest))


def _divided(relevance: Tensor, sums: Tensor) -> tuple[Tensor, Tensor | None]:
    """Divide; return also what cannot be, where sums are zero or so small that a quotient may overflow.

    Either is 0 where the other is not; None where all can be divided.
    """
    sizes, least = sums.abs(), TINY * torch.finfo(sums.dtype).tiny
    if not bool(sizes.amin() <= least):  # a third of the time that any takes
        return relevance / sums, None
    nothing = sizes <= least
    return relevance / torch.where(nothing, torch.inf, sums), torch.where(nothing, relevance, 0)


def _with(share: Tensor, rest: Tensor | None) -> Tensor:
    return share if rest is None else rest + share


ABSOLUTE = Absolute()
GAMMA = Gamma()
GAMMA_BY_DEPTH = Gamma(gamma=0.1, by_depth=2.0)
SHARED_GAMMA = SharedGamma()
EPSILON = Epsilon()
POSITIVE = Positive()
