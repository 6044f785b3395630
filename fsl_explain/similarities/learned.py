"""A learned similarity: any function of two embeddings, of which nothing is known but its values and derivatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.similarities.traits import Traits

WHY = (
    "a learned similarity has no form that is linear in the embeddings; use method='exact', 'contrast', "
    "'log-probability' or 'verification', whose addends are integrated, and rule='mean-similarity' or 'prototype'."
)


class WithoutForm:
    """What a learned similarity has not: anything that is linear in the embeddings is refused in one sentence."""

    traits: ClassVar[Traits] = Traits(has_form=False, sums_over_channels=False)

    def contributions(self, query: Tensor, support: Tensor) -> NoReturn:  # noqa: ARG002 - of every similarity
        """Refuse: it is no sum over channels. Raises: ``ValueError``."""
        raise Mistake(WHY)

    def form(self, query: Tensor, support: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse: it is linear in neither side. Raises: ``ValueError``."""
        raise Mistake(WHY)

    def prototype_weights(self, supports: Tensor, valid: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse: its value of a mean is no sum of its values. Raises: ``ValueError``."""
        raise Mistake(WHY)


@dataclass(frozen=True)
class LearnedSimilarity(WithoutForm):
    """The similarity that a function gives every query (…, query, J) with every gallery embedding (…, gallery, J').

    ``function`` returns (…, query, gallery), of any unit; larger is more alike. It must be differentiable with PyTorch
    by both, from which decisions by it are explained.
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def pairwise(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "*batch query gallery"]:
        """Return the function's values. Raises: ``ValueError`` for another shape than (…, query, gallery)."""
        found = self.function(query, gallery)
        leading = torch.broadcast_shapes(query.shape[:-2], gallery.shape[:-2])
        shape = (*leading, query.shape[-2], gallery.shape[-2])
        if not isinstance(found, Tensor) or found.shape != shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise Mistake(
                f"expected a learned similarity of shape {shape} for queries {tuple(query.shape)} and a gallery "
                f"{tuple(gallery.shape)}, but its function returned {got}; compare every query with every other."
            )
        return found
