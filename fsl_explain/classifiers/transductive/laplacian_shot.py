"""LaplacianShot: images that lie near each other get the same class.

Source: Ziko et al., "Laplacian Regularized Few-Shot Learning", 2020, and its published code. Notation: y_j are the soft
assignments of unlabeled image j, λ their weight in the score of a neighbor.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import prototypes
from fsl_explain.classifiers.decision import SupportSet, Weights, combined, every_valid
from fsl_explain.classifiers.transductive.bd_cspn import BDCSPN
from fsl_explain.classifiers.transductive.shifted_prototypes import ShiftedPrototypes, unlabeled_of
from fsl_explain.heads.direction import length
from fsl_explain.similarities import Similarity, weighs_supports

NEIGHBORS = "classes of the nearest unlabeled images"
ITSELF = 1e-3  # of its norm: an image of one batch and of another differ by rounding
CONVERGED = 1e-6
SMALLEST = 1e-20


@dataclass(frozen=True, kw_only=True)
class LaplacianShot:
    """Score S(z', P_c) + λ Σ_j y_jc over the nearest unlabeled images j; ``similarity="euclidean"`` is the paper's.

    P_c is the mean of a class's supports, or with ``rectified`` BD-CSPN's prototype of the same ``epsilon`` and without
    a shift of the query. The y_j are those before the last of at most ``iterations`` updates of the paper's bound, so
    that an unlabeled image gets the paper's own assignment; they are frozen when a decision is explained. Another
    image is decided as if it were one more. An unlabeled image that is the query itself is none of its neighbors.
    ``neighbors`` does not count the image itself, which the published code's ``knn=3`` does. λ is
    ``regularization``, which the paper tunes for each data set; its code has 0.5.
    DEVIATION: easyfsl, whose defaults differ, is ``LaplacianShot(regularization=0.7, rectified=True,
    epsilon=1.0)``.

    Raises: ``ValueError`` for a regularization or an epsilon that is not finite or below 0 and for fewer than one
    neighbor or iteration; when it decides, without unlabeled images.
    """

    is_linear_in_embeddings: ClassVar[bool] = False
    needs_unlabeled: ClassVar[bool] = True
    regularization: float = 0.5
    neighbors: int = 2
    iterations: int = 20
    rectified: bool = False
    epsilon: float = 10.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.regularization) and self.regularization >= 0):
            raise Mistake(f"LaplacianShot needs a finite regularization of at least 0, but got {self.regularization}.")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise Mistake(f"LaplacianShot needs a finite epsilon of at least 0, but got {self.epsilon}.")
        if min(self.neighbors, self.iterations) < 1:
            raise Mistake(
                f"LaplacianShot needs at least 1 neighbor and 1 iteration, but got {self.neighbors} and "
                f"{self.iterations}."
            )

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return similarity and neighbors' say, from 0 to λ · ``neighbors``, together.

        A class without supports scores minus infinity.
        """
        centers = self._prototypes(supports)
        return centers.scores(query, similarity) + self._say_of_neighbors(query, supports, centers, similarity)

    decision_scores = class_scores
    voters: ClassVar["staticmethod[..., Tensor]"] = staticmethod(every_valid)

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh each support by its share of its prototype; the neighbors' say is a constant.

        Raises: ``ValueError`` for a similarity of several forms or none, such as one at scales or a learned one.
        """
        centers = self._prototypes(supports)
        if self.rectified or not weighs_supports(similarity):
            found = centers.weights(class_weights, query, supports, similarity)
        else:
            found = prototypes.weights(class_weights, query, supports, similarity)
        say = combined(class_weights, self._say_of_neighbors(query, supports, centers, similarity))
        return Weights(found.supports, {**found.constants, NEIGHBORS: say}, found.slopes)

    def _prototypes(self, supports: SupportSet) -> ShiftedPrototypes:
        unlabeled_of(supports, "LaplacianShot")
        if self.rectified:
            return BDCSPN(epsilon=self.epsilon, shifts_queries=False).prototypes(supports)
        return ShiftedPrototypes.means(supports)

    def _say_of_neighbors(
        self, query: Tensor, supports: SupportSet, centers: ShiftedPrototypes, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return λ Σ_j y_jc over the neighbors of each query."""
        unlabeled = unlabeled_of(supports, "LaplacianShot")
        assigned = self._assignments(unlabeled, centers, similarity)
        leading = torch.broadcast_shapes(query.shape[:-1], unlabeled.shape[:-2], assigned.shape[:-2])
        places = query.detach().expand(*leading, query.shape[-1])
        apart = _distances(places, unlabeled)
        nearest = apart.argmin(dim=-1, keepdim=True)
        itself = apart.gather(-1, nearest) <= ITSELF * length(places)[..., None]
        apart = apart.masked_fill(torch.zeros_like(apart, dtype=torch.bool).scatter(-1, nearest, itself), torch.inf)
        chosen = self._nearest(apart)
        return self.regularization * (chosen[..., None, :] @ assigned).squeeze(-2)

    def _assignments(
        self,
        unlabeled: Float[Tensor, "*#batch unlabeled channel"],
        centers: ShiftedPrototypes,
        similarity: Similarity,
    ) -> Float[Tensor, "*batch unlabeled way"]:
        """Return y before the last update (Ziko et al., Algorithm 1)."""
        unary = similarity.pairwise(unlabeled, centers.points).detach()
        unary = unary.masked_fill(~centers.present[..., None, :], -torch.inf)
        apart = torch.cdist(unlabeled, unlabeled, compute_mode="donot_use_mm_for_euclid_dist")
        own = torch.eye(apart.shape[-1], dtype=torch.bool, device=apart.device)
        near = self._nearest(apart.masked_fill(own, torch.inf))
        now, before, energy = (
            unary.softmax(dim=-1),
            torch.zeros_like(unary),
            unary.new_full(unary.shape[:-2], torch.inf),
        )
        moving = torch.ones_like(energy, dtype=torch.bool)
        for step in range(self.iterations):
            before = torch.where(moving[..., None, None], now, before)
            now = (unary + self.regularization * (near @ before)).softmax(dim=-1)
            last, energy = energy, self._energy(now, unary, near)
            if step > 1:
                moving = moving & ((energy - last).abs() > CONVERGED * last.abs())
            if not bool(moving.any()):
                break
        return before

    def _energy(self, assigned: Tensor, unary: Tensor, near: Tensor) -> Tensor:
        """Return the bound that the updates lower (Ziko et al., Eq. 7)."""
        single = assigned * (assigned.clamp(min=SMALLEST).log() - torch.where(unary.isinf(), 0, unary))
        together = self.regularization * (near @ assigned) * assigned
        total: Tensor = (single - together).sum(dim=(-2, -1))
        return total

    def _nearest(self, apart: Float[Tensor, "*batch unlabeled"]) -> Float[Tensor, "*batch unlabeled"]:
        """Mark the nearest images by 1; the first of several as near."""
        order = apart.argsort(dim=-1, stable=True)[..., : self.neighbors]
        marked = torch.zeros_like(apart).scatter(-1, order, 1)
        return marked.masked_fill(apart.isinf(), 0)


LAPLACIAN_SHOT = LaplacianShot()


def _distances(
    query: Float[Tensor, "*batch channel"], unlabeled: Float[Tensor, "*#batch unlabeled channel"]
) -> Float[Tensor, "*batch unlabeled"]:
    """Return the distance of each query to each unlabeled image, the same whatever is computed with it."""
    mode = "donot_use_mm_for_euclid_dist"
    if unlabeled.dim() == 2:
        found = torch.cdist(query.reshape(-1, query.shape[-1]), unlabeled, compute_mode=mode)
        return found.reshape(*query.shape[:-1], -1)
    return torch.cdist(query[..., None, :], unlabeled, compute_mode=mode).squeeze(-2)
