"""What a similarity has to offer so that a decision made with it can be explained."""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.similarities.any_form import AnyForm


@runtime_checkable
class Similarity(Protocol):
    """A score of two embeddings that is linear in each once gains are frozen. Larger always means more alike.

    Laws: ``contributions(q, g).sum(-1)`` is the entry of ``pairwise`` for that pair, so is the value of
    ``form``; with ``weights, constant = prototype_weights(supports, valid)``, the similarity to the mean
    support is ``(weights * similarities).sum(-1) + constant``.
    """

    def pairwise(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "*batch query gallery"]:
        """Return the similarity of every query to every gallery embedding; larger is more alike."""
        ...

    def contributions(
        self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
    ) -> Float[Tensor, "*pairs channel"]:
        """Split the similarity of each pair into one addend per channel, as FAM does; a negative one speaks against it.

        Raises: ``ValueError`` for a similarity that is no sum over channels.
        """
        ...

    def form(self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> AnyForm:
        """Write the similarity of each pair as linear in either side. Raises: ``ValueError`` for one that is not so."""
        ...

    def prototype_weights(
        self, supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
    ) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
        """Write the similarity to the mean of the valid supports as a weighted sum of similarities, and a constant.

        ``valid`` marks the supports that are no padding. Raises: ``ValueError`` for one that is no such sum.
        """
        ...


def uniform_weights(
    supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
) -> Float[Tensor, "*#classes shot"]:
    """Give each valid support of a class the same weight; those of a class sum to 1, or are 0 where it has none."""
    shares = valid.to(supports.dtype)
    return shares / shares.sum(dim=-1, keepdim=True).clamp(min=1)
