"""BD-CSPN: prototypes rectified by the images that are to be decided.

Source: Liu, Song and Qin, "Prototype Rectification for Few-Shot Learning", 2020. Notation: ξ is the mean of the
supports minus that of the unlabeled images, and is added to each of the latter.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, every_valid
from fsl_explain.classifiers.transductive.shifted_prototypes import ShiftedPrototypes, unlabeled_of, weighted
from fsl_explain.similarities import SIMILARITIES, Similarity


@dataclass(frozen=True, kw_only=True)
class BDCSPN:
    """Scores each class by the similarity to its rectified prototype; ``similarity="cosine"`` is the paper's.

    Unlabeled images are shifted by ξ and join the class whose mean is most like them by the cosine. The prototype is
    the mean of a class's supports and these, weighted by the softmax of ``epsilon`` times their cosine to the mean.
    With ``confident`` only so many of a class join, those with the largest probability. The query is shifted, too,
    unless ``shifts_queries`` is False. Prototypes and ξ are frozen when a decision is explained.
    DEVIATION: all unlabeled images join by default, as in the public implementations; the paper takes the most
    confident. easyfsl's is ``BDCSPN(epsilon=1.0, shifts_queries=False)``.

    Raises: ``ValueError`` for an epsilon that is not finite or below 0 and for fewer than one confident image; when it
    decides, without unlabeled images.
    """

    is_linear_in_embeddings: ClassVar[bool] = True
    needs_unlabeled: ClassVar[bool] = True
    epsilon: float = 10.0
    confident: int | None = None
    shifts_queries: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise Mistake(f"BD-CSPN needs a finite epsilon of at least 0, but got {self.epsilon}.")
        if self.confident is not None and self.confident < 1:
            raise Mistake(f"BD-CSPN needs at least 1 confident image, but got {self.confident}; None takes all.")

    def prototypes(self, supports: SupportSet) -> ShiftedPrototypes:
        """Return the rectified prototypes. Raises: ``ValueError`` without unlabeled images."""
        unlabeled = unlabeled_of(supports, "BD-CSPN")
        means = ShiftedPrototypes.means(supports)
        real = supports.valid[..., None]
        center = supports.embeddings.masked_fill(~real, 0).sum(dim=(-3, -2)) / real.sum(dim=(-3, -2))
        shift = center - unlabeled.mean(dim=-2)
        shifted = unlabeled + shift[..., None, :]
        likeness, joins = self._joining(shifted, means)
        cosine = SIMILARITIES["cosine"]
        own: Tensor = cosine.pairwise(supports.embeddings, means.points[..., None, :]).squeeze(-1)
        batch = torch.broadcast_shapes(likeness.shape[:-2], own.shape[:-2])
        members = [own.masked_fill(~supports.valid, -torch.inf), likeness.masked_fill(~joins, -torch.inf)]
        logits = torch.cat([one.expand(*batch, *one.shape[-2:]) for one in members], dim=-1)
        shares = (self.epsilon * logits).nan_to_num(nan=-torch.inf).softmax(dim=-1)
        shares = shares.masked_fill(~means.present[..., None], 0)
        on_supports, on_unlabeled = shares.split([own.shape[-1], unlabeled.shape[-2]], dim=-1)
        added = on_unlabeled @ shifted
        points = weighted(on_supports, supports.embeddings) + added
        present = means.present.expand(*batch, -1)
        return ShiftedPrototypes(on_supports, added, points, present, shift if self.shifts_queries else None)

    def _joining(self, shifted: Tensor, means: ShiftedPrototypes) -> tuple[Tensor, Tensor]:
        """Return the cosines (…, way, image) to the means, and which images join which class."""
        likeness: Tensor = SIMILARITIES["cosine"].pairwise(shifted, means.points)
        likeness = likeness.masked_fill(~means.present[..., None, :], -torch.inf)
        joins = torch.zeros_like(likeness, dtype=torch.bool)
        joins = joins.scatter(-1, likeness.argmax(dim=-1, keepdim=True), True).mT
        if self.confident is not None:
            sure = likeness.softmax(dim=-1).mT.masked_fill(~joins, -torch.inf)
            first = sure.argsort(dim=-1, descending=True, stable=True)[..., : self.confident]
            joins = joins & torch.zeros_like(joins).scatter(-1, first, True)
        return likeness.mT, joins

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the similarity to each rectified prototype, minus infinity for a class without supports."""
        return self.prototypes(supports).scores(query, similarity)

    decision_scores = class_scores
    voters: ClassVar["staticmethod[..., Tensor]"] = staticmethod(every_valid)

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh each support by its share of its prototype; what the unlabeled images add is a slope.

        Raises: ``ValueError`` for a similarity of several forms or none, such as one at scales or a learned one.
        """
        return self.prototypes(supports).weights(class_weights, query, supports, similarity)


RECTIFIED = BDCSPN()
