"""Layers that stand between the pooled activations and the embedding."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake, WrongType
from fsl_explain.heads.direction import direction


class L2Normalize(nn.Module):
    """Divide each embedding by its Euclidean norm, as NPID and MoCo do after their linear layer."""

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return embeddings of norm 1; a zero vector stays zero."""
        return direction(values)


class Power(nn.Module):
    """x → x^beta of what is above 0, else 0: Tukey's ladder of powers, as in Yang et al., 2021, with beta = 0.5.

    It makes skewed activations more like a Gaussian's.

    Raises: ``ValueError`` for a beta that is not finite and above 0.
    """

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        if not (math.isfinite(beta) and beta > 0):
            raise Mistake(f"a power transform needs a finite beta above 0, but got {beta}; 0.5 is the paper's.")
        self.beta = beta

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return the powers, at least 0."""
        return values.clamp(min=0).pow(self.beta)

    def extra_repr(self) -> str:
        """Name the exponent."""
        return f"beta={self.beta:g}"


class Center(nn.Module):
    """Subtract a stored mean, that of the base set's embeddings in SimpleShot (Wang et al., 2019).

    Raises: ``ValueError`` for a mean that is not a finite vector; ``TypeError`` for one that is no tensor.
    """

    mean: Tensor

    def __init__(self, mean: Float[Tensor, "..."]) -> None:
        super().__init__()
        if not isinstance(mean, Tensor):
            raise WrongType(f"expected the mean as a tensor, but got {type(mean).__name__}: use torch.tensor(mean).")
        if mean.ndim != 1:
            raise Mistake(
                f"expected one mean per channel, but got shape {tuple(mean.shape)}: use Center.on(embeddings)."
            )
        if not torch.isfinite(mean).all():
            raise Mistake(
                f"expected finite means, but got {mean[~torch.isfinite(mean)][0]}: leave out the images it comes from."
            )
        self.register_buffer("mean", mean.detach().clone())

    @staticmethod
    def on(embeddings: Float[Tensor, "*set channel"]) -> "Center":
        """Center on the mean of a set of embeddings; all leading dimensions are averaged over.

        Raises: ``ValueError`` for an empty set, or one with values that are not finite.
        """
        if not embeddings.numel():
            raise Mistake(
                f"expected embeddings to center on, but got shape {tuple(embeddings.shape)}: add images to the set."
            )
        return Center(embeddings.reshape(-1, embeddings.shape[-1]).mean(dim=0))

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return the values minus the mean, in their own precision. Raises: ``ValueError`` for other channels."""
        if values.shape[-1] != len(self.mean):
            raise Mistake(
                f"expected embeddings of {len(self.mean)} channels, as the mean has, but got {values.shape[-1]}; "
                "center on embeddings of the same encoder."
            )
        return values - self.mean.to(values.dtype)
