"""Prototypes that are weighted sums of supports and unlabeled images, and the similarity to them as a sum over both.

Notation: P_c = Σ_k a_k q'_k + R_c, R_c what the unlabeled images add to class c; ξ is added to the query first.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, combined
from fsl_explain.similarities import Similarity, has_form
from fsl_explain.similarities.form import Form
from fsl_explain.similarities.similarity import uniform_weights

UNLABELED = "unlabeled images in the prototypes"
SHIFT = "shift of the query towards the supports"
SPREAD = "spread of the images around the prototypes"


@dataclass(frozen=True)
class ShiftedPrototypes:
    """A prototype of each class, with the say of each support in it; none without a support.

    ``points`` are the prototypes P = Σ_k a_k q'_k + R: ``on_supports`` is a, 0 for padding, ``added`` is R, what the
    unlabeled images add. ``present`` marks the classes that have a support; ``shift`` is ξ, which is added to a query
    first; None: nothing is.
    """

    on_supports: Float[Tensor, "*#batch way shot"]
    added: Float[Tensor, "*#batch way channel"]
    points: Float[Tensor, "*#batch way channel"]
    present: Bool[Tensor, "*#batch way"]
    shift: Float[Tensor, "*#batch channel"] | None = None

    @classmethod
    def means(cls, supports: SupportSet) -> "ShiftedPrototypes":
        """Return the means of the classes, to which no unlabeled image adds anything."""
        shares = uniform_weights(supports.embeddings, supports.valid)
        points = weighted(shares, supports.embeddings)
        return cls(shares, torch.zeros_like(points), points, supports.valid.any(dim=-1))

    def scores(self, query: Float[Tensor, "*#batch channel"], similarity: Similarity) -> Float[Tensor, "*batch way"]:
        """Return the similarity to each prototype, minus infinity where there is none."""
        moved = self.moved(query)
        if self.points.dim() == 2:
            found = similarity.pairwise(moved.reshape(-1, moved.shape[-1]), self.points)
            scores = found.reshape(*moved.shape[:-1], -1)
        else:
            scores = similarity.pairwise(moved[..., None, :], self.points).squeeze(-2)
        return scores.masked_fill(~self.present, -torch.inf)

    def moved(self, query: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return query + ξ."""
        return query if self.shift is None else query + self.shift

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Write Σ_c class_weights_c S(query + ξ, P_c) with S_k the similarities to the supports.

        With S = s zᵀ M P + u·z + v·P + k frozen at a prototype, and s_k, u_k, v_k, k_k at its supports, support k has
        the weight a_k s / s_k. The unlabeled images add the slope s M R + u − Σ a_k s/s_k u_k.

        Raises: ``ValueError`` for a similarity of several forms or none.
        """
        at_prototype = _form(similarity, self.moved(query)[..., None, :], self.points)
        at_supports = _form(similarity, query[..., None, None, :], supports.embeddings)
        scale = _finite(at_prototype.scale) * self.present
        ratio = self.on_supports * _finite(scale[..., None] / at_supports.scale)
        zero = scale.new_zeros(())
        slopes = scale[..., None] * _times_metric(at_prototype, self.added)
        if at_prototype.query_slope is not None and at_supports.query_slope is not None:
            slopes = slopes + at_prototype.query_slope
            slopes = slopes - (ratio[..., None] * at_supports.query_slope).sum(dim=-2)
        spread = at_prototype.along_support(self.points)
        spread = spread - (ratio * at_supports.along_support(supports.embeddings)).sum(dim=-1)
        found = {SPREAD: torch.where(self.present, spread, zero)}
        if self.shift is not None:
            products = (at_prototype.on_query(self.points) * self.shift[..., None, :]).sum(dim=-1)
            found[SHIFT] = torch.where(self.present & (scale != 0), products, zero)
        asked = class_weights.masked_fill(~self.present, 0)
        slopes = torch.where(self.present[..., None], slopes, zero)
        return Weights(
            asked[..., None] * ratio,
            {name: combined(asked, value) for name, value in found.items()},
            {UNLABELED: (asked[..., None] * slopes).sum(dim=-2)},
        )


def weighted(
    shares: Float[Tensor, "*#batch way image"], embeddings: Float[Tensor, "*#batch way image channel"]
) -> Float[Tensor, "*batch way channel"]:
    """Return Σ share · embedding of each class; embeddings without a share may hold anything."""
    held = embeddings.masked_fill((shares == 0)[..., None], 0)
    return (shares[..., None] * held).sum(dim=-2)


def unlabeled_of(supports: SupportSet, rule: str) -> Float[Tensor, "*#batch unlabeled channel"]:
    """Return the episode's unlabeled images. Raises: ``ValueError`` where none are there."""
    if supports.unlabeled is None or supports.unlabeled.shape[-2] == 0:
        raise Mistake(
            f"{rule} decides all images of an episode together, but none to be decided were given; give explain(…, "
            "unlabeled=images), as evaluate_episodes does by itself."
        )
    return supports.unlabeled


def _form(similarity: Similarity, query: Tensor, support: Tensor) -> Form:
    form = similarity.form(query, support) if has_form(similarity) else None
    if not isinstance(form, Form):
        raise Mistake(
            f"prototypes that unlabeled images move need a similarity of one form, but {type(similarity).__name__} has "
            "none; use similarity='cosine', 'inner-product' or 'euclidean', without scales."
        )
    return form


def _times_metric(form: Form, values: Tensor) -> Tensor:
    return values if form.metric is None else values @ form.metric.T


def _finite(values: Tensor) -> Tensor:
    """Return factors, 0 where a zero vector has none: it has no say."""
    return torch.where(values.isfinite(), values, 0)
