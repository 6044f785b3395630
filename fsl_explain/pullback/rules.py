"""Rules by which a linear layer z_j = Σ_i x_i w_ij + b_j splits the relevance of its outputs among its inputs.

Notation: P_j and N_j are the sums of the positive and of the negative products x_i w_ij, R_j is the relevance of an
output. Law: what goes to the inputs and what is left sum to the relevance, image by image. What is left stays at the
cell of its output: the share of the bias under rules that give it one, and all of an output whose products vanish.

Sources: Bach et al., 2015 (ε, z⁺); Montavon et al., 2019 (γ; composites by depth); abs splits as the z⁺ rule does, by
absolute values, so that Σ|R| cannot grow.
"""

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
    """A linear layer at the values that it read."""

    values: Tensor  # x
    weight: Tensor | None  # None: all weights are positive, and part of the operation
    bias: Tensor | None  # in a shape that goes with the outputs
    forward: Callable[[Tensor, Tensor | None], Tensor]  # (x, w) → Σ_i x_i w_ij
    backward: Callable[[Tensor, Tensor | None], Tensor]  # (s, w) → Σ_j w_ij s_j, with queries leading
    depth: int = 0  # doublings of the grid that lie behind it

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

    def absolute_sums(self) -> Tensor:
        """Return P - N."""
        return self.forward(*self.sizes)

    def handed_absolutely(self, factor: Tensor) -> Tensor:
        """Return Σ_j |x_i w_ij| factor_j."""
        values, weight = self.sizes
        return values * self.backward(factor, weight)

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
    """What goes to the inputs of a layer, and what is left at its outputs."""

    inputs: Tensor
    left: Tensor


@runtime_checkable
class PullbackRule(Protocol):
    """How a linear layer splits relevance; ``reads_biases`` says whether a bias takes a share of its own."""

    @property
    def reads_biases(self) -> bool:
        """Whether biases, those of batch normalization among them, take shares."""
        ...

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split the relevance of the outputs, with queries leading."""
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
    (1 + γ) x_i w_ij s_j, others x_i w_ij s_j, and the bias (b_j + γ b_j^±) s_j. γ is at least 0. ``by_depth``
    multiplies γ with every doubling of the grid that lies behind the layer.

    Raises: ``ValueError`` for a negative γ or a factor that is not above 0.
    """

    gamma: float = 0.25
    by_depth: float = 1.0
    reads_biases: bool = True

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and self.by_depth > 0):
            raise Mistake(f"expected gamma of at least 0 and by_depth above 0, but got {self.gamma}, {self.by_depth}.")

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products, those of the output's sign favored."""
        positive, negative = layer.signed_sums()
        bias = torch.zeros_like(positive) if layer.bias is None else layer.bias.expand_as(positive)
        outputs, gamma = positive + negative + bias, self.gamma * self.by_depth**layer.depth
        is_up = outputs >= 0
        favored = torch.where(is_up, positive + bias.clamp(min=0), negative + bias.clamp(max=0))
        factor, rest = _divided(relevance, outputs + gamma * favored)
        more = (1 + gamma) * factor
        inputs = layer.handed(torch.where(is_up, more, factor), torch.where(is_up, factor, more))
        same_sign = torch.where(is_up, bias.clamp(min=0), bias.clamp(max=0))
        return Split(inputs, rest + factor * (bias + gamma * same_sign))


@dataclass(frozen=True)
class SharedGamma:
    """The γ rule without biases: shares ((1 + γ) z⁺ + z⁻) / ((1 + γ) P + N) where P + N ≥ 0, mirrored otherwise.

    Raises: ``ValueError`` for a γ that is not above 0; without it the shares have no bound.
    """

    gamma: float = 0.25
    reads_biases: bool = False

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise Mistake(f"expected gamma above 0, but got {self.gamma}.")

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products, those of the sign of their sum favored."""
        positive, negative = layer.signed_sums()
        is_up = positive + negative >= 0
        sums = positive + negative + self.gamma * torch.where(is_up, positive, negative)
        factor, left = _divided(relevance, sums)
        more = (1 + self.gamma) * factor
        inputs = layer.handed(torch.where(is_up, more, factor), torch.where(is_up, factor, more))
        return Split(inputs, left)


@dataclass(frozen=True)
class Epsilon:
    """s_j = R_j / (z_j ± ε), the sign that of z_j; the bias gets b_j s_j, and what ε takes is left, too.

    ε is in units of the root mean square of the layer's outputs, above 0.
    Raises: ``ValueError`` for another ε.
    """

    epsilon: float = 0.1
    reads_biases: bool = True

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise Mistake(f"expected epsilon above 0, but got {self.epsilon}.")

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by products as they are."""
        positive, negative = layer.signed_sums()
        bias = torch.zeros_like(positive) if layer.bias is None else layer.bias.expand_as(positive)
        outputs = positive + negative + bias
        size = outputs.square().flatten(start_dim=1).mean(dim=1).sqrt()
        absorbed = self.epsilon * size.reshape(-1, *[1] * (outputs.dim() - 1))
        sums = outputs + torch.where(outputs >= 0, absorbed, -absorbed)
        factor, rest = _divided(relevance, sums)
        return Split(layer.handed(factor, factor), rest + factor * (sums - positive - negative))


@dataclass(frozen=True)
class Positive:
    """The z⁺ rule: R_i = Σ_j (x_i w_ij)⁺ R_j / P_j; negative products and biases take nothing."""

    reads_biases: bool = False

    def split(self, layer: LinearLayer, relevance: Tensor) -> Split:
        """Split by positive products."""
        positive, _ = layer.signed_sums()
        factor, left = _divided(relevance, positive)
        return Split(layer.handed(factor, torch.zeros_like(factor)), left)


def _divided(relevance: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Divide; return also what cannot be, where sums are zero or so small that a quotient may overflow.

    Either is 0 where the other is not.
    """
    nothing = sums.abs() <= TINY * torch.finfo(sums.dtype).tiny
    return torch.where(nothing, 0, relevance / torch.where(nothing, 1, sums)), torch.where(nothing, relevance, 0)


ABSOLUTE = Absolute()
GAMMA = Gamma()
GAMMA_BY_DEPTH = Gamma(gamma=0.1, by_depth=2.0)
SHARED_GAMMA = SharedGamma()
EPSILON = Epsilon()
POSITIVE = Positive()
