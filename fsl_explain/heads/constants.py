"""What a gradient meets of biases on its way back through layers, summed once all of it is known.

Weights are read in turn, and whatever stands between two of them is slow: so the sums wait, and those of one shape are
taken together.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Shapes = tuple[torch.Size, torch.Size, int]


class Constants:
    """Products of gradients and biases, not yet summed."""

    def __init__(self) -> None:
        self._met: dict[Shapes, tuple[list[Tensor], list[Tensor]]] = {}

    def meet(
        self, gradient: Float[Tensor, "... out"], bias: Float[Tensor, "*#batch out"] | None, over: int = 1
    ) -> None:
        """Keep a bias and the gradient there, of which the last ``over`` dimensions are summed."""
        if bias is not None:
            gradients, biases = self._met.setdefault((gradient.shape, bias.shape, over), ([], []))
            gradients.append(gradient)
            biases.append(bias)

    def total(self, like: Float[Tensor, "*any"]) -> Float[Tensor, "..."]:
        """Return the sum of all products, ``like`` a tensor of their precision."""
        found = like.new_zeros(())
        for (shape, bias_shape, over), (gradients, biases) in self._met.items():
            missing = (1,) * (len(shape) - len(bias_shape))
            stacked = torch.stack(biases).view(len(biases), *missing, *bias_shape)
            products = torch.linalg.vecdot(torch.stack(gradients), stacked.to(like))
            products = products if over == 1 else products.sum(dim=tuple(range(1 - over, 0)))
            found = found + products.sum(dim=0)
        return found
