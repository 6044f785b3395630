"""Similarities of images seen at several scales: the weighted mean of the similarities at each of them.

An embedding holds that of each scale behind each other, all of one length. Notation: a_s is the weight of scale s, and
all of them sum to 1; S = Σ_s a_s S_s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain import registries
from fsl_explain.config.scales import scales_from_text
from fsl_explain.registries import AT
from fsl_explain.similarities.form import Form, SideBySideForms
from fsl_explain.similarities.similarity import Similarity
from fsl_explain.similarities.traits import Traits, Transform, traits_of

ROUNDING = 1e-12
"""Weights that miss a sum of 1 by less are taken as they are, so that a name gives back what it was made of."""


@dataclass(frozen=True)
class AtScales:
    """The mean of the similarities at several scales, one similarity and one weight a scale.

    ``sides`` are those of the images in pixels, to name the scales by; ``weights`` are positive and sum to 1, so that
    the mean has the unit and the range of the ``similarities``. ``AtScales.of`` makes one of one similarity. Rules,
    votes and linear classifiers take it as any other; a prototype has a mean embedding at each scale.
    """

    similarities: tuple[Similarity, ...]
    sides: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(
        cls, similarity: str | Similarity, sides: Sequence[int], weights: Sequence[float] | None = None
    ) -> "AtScales":
        """Take one similarity at every scale, with equal weights unless given; only their ratios count.

        Raises: ``ValueError`` for no sides, for weights that are not positive, or of another number, and for a
        similarity at scales; as ``named_similarity``.
        """
        plain: Similarity = registries.SIMILARITIES.find(similarity)
        if isinstance(plain, AtScales):
            raise Mistake("expected a similarity of one scale, but got one at scales already; give the plain one.")
        return cls((plain,) * len(sides), tuple(sides), mean_weights(sides, weights))

    def parts(self, embeddings: Float[Tensor, "*batch channel"]) -> tuple[Float[Tensor, "*batch part"], ...]:
        """Return the embeddings at each scale. Raises: ``ValueError`` for a length that is no multiple of the scales'.

        It does not say whether they were made at these scales; the encoder does.
        """
        if embeddings.shape[-1] % len(self.sides):
            raise Mistake(
                f"expected embeddings of {len(self.sides)} scales behind each other, but got {embeddings.shape[-1]} "
                f"channels, no multiple of it; use encoder.at_scales({list(self.sides)})."
            )
        return embeddings.chunk(len(self.sides), dim=-1)

    def at_each(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "scale *batch query gallery"]:
        """Return the similarity S_s at each scale."""
        sides = zip(self.similarities, self.parts(query), self.parts(gallery), strict=True)
        return torch.stack([one.pairwise(left, right) for one, left, right in sides])

    def pairwise(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "*batch query gallery"]:
        """Return the weighted mean of the similarities of every query to every gallery embedding."""
        found = self.at_each(query, gallery)
        return (found * found.new_tensor(self.weights).reshape(-1, *(1,) * (found.dim() - 1))).sum(dim=0)

    def contributions(
        self, query: Float[Tensor, "*pairs channel"], support: Float[Tensor, "*pairs channel"]
    ) -> Float[Tensor, "*pairs channel"]:
        """Split it into one addend per channel of each scale, those of the scales behind each other.

        Raises: ``ValueError`` where that of a scale is no sum over channels.
        """
        sides = zip(self.similarities, self.weights, self.parts(query), self.parts(support), strict=True)
        return torch.cat([weight * one.contributions(left, right) for one, weight, left, right in sides], dim=-1)

    def form(
        self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
    ) -> SideBySideForms:
        """Write it as the forms at each scale, whose matrices are the blocks of M.

        Raises: ``ValueError`` where that of a scale has none.
        """
        sides = zip(self.similarities, self.parts(query), self.parts(support), strict=True)
        return SideBySideForms(tuple(_plain(one, left, right) for one, left, right in sides), self.weights)

    def prototype_weights(self, supports: Tensor, valid: Tensor) -> NoReturn:  # noqa: ARG002 - of every similarity
        """Refuse: each scale weighs the supports otherwise. Raises: ``ValueError``."""
        raise Mistake(
            "the similarity to a mean support at several scales is no weighted sum of the supports', because each "
            "scale weighs them otherwise; compare with the mean itself, as rule='prototype' does."
        )

    @property
    def traits(self) -> Traits:
        """An inner product, or a distance, of transformed parts times √a, where that of each scale is."""
        each = [traits_of(one) for one in self.similarities]
        divided = [one.divides_by_norm for one in each]
        return Traits(
            inner_product_of=self._side_by_side([one.inner_product_of for one in each]),
            distance_of=self._side_by_side([one.distance_of for one in each]),
            divides_by_norm=all(divided),
            is_affine_in_query=all(one.is_affine_in_query for one in each) and not any(divided),  # by a norm each
            zero_has_none=any(one.zero_has_none for one in each),
            sums_over_channels=all(one.sums_over_channels for one in each),
            has_form=all(
                one.has_form and hasattr(part, "form") for one, part in zip(each, self.similarities, strict=True)
            ),
            weighs_supports=False,
            parts=len(self.sides),
        )

    @property
    def composed_name(self) -> str | None:
        """The name by which it is found again, such as ``cosine@224,448``; None where a part has no name."""
        names = {registries.SIMILARITIES.name_of(one) for one in self.similarities}
        if len(names) != 1 or None in names:
            return None
        equal = len(set(self.weights)) == 1
        scales = [str(s) if equal else f"{s}:{a!r}" for s, a in zip(self.sides, self.weights, strict=True)]
        return f"{names.pop()}{AT}{','.join(scales)}"

    def _side_by_side(self, transforms: Sequence[Transform | None]) -> Transform | None:
        there = [one for one in transforms if one is not None]
        if len(there) < len(transforms):
            return None

        def transformed(values: Tensor) -> Tensor:
            sides = zip(there, self.weights, self.parts(values), strict=True)
            return torch.cat([sqrt(weight) * one(part) for one, weight, part in sides], dim=-1)

        return transformed


def mean_weights(sides: Sequence[int], weights: Sequence[float] | None) -> tuple[float, ...]:
    """Return the weights of a mean over scales, which sum to 1: equal ones, or those in the ratios given.

    Raises: ``ValueError`` for no scales, or weights that are not positive or of another number than the scales.
    """
    if len(sides) == 0:
        raise Mistake("expected at least one scale, but got none; give sides in pixels, such as (224, 448).")
    if weights is None:
        return (1 / len(sides),) * len(sides)
    given = [float(weight) for weight in weights]
    if len(given) != len(sides) or not all(isfinite(weight) and weight > 0 for weight in given):
        raise Mistake(
            f"expected a positive weight for each of the {len(sides)} scales, but got {given}; leave the weights out "
            "for equal ones."
        )
    return tuple(given) if abs(sum(given) - 1) < ROUNDING else tuple(weight / sum(given) for weight in given)


@lru_cache(maxsize=64)
def composed(name: str) -> AtScales | None:
    """Return the similarity of a name such as ``cosine@224,448``; None where the name says none."""
    plain, _, scales = name.partition(AT)
    if AT in scales or plain not in registries.SIMILARITIES:
        return None
    try:
        sides, weights = scales_from_text(scales)
    except ValueError:
        return None
    return AtScales.of(registries.SIMILARITIES[plain], sides, weights)


def _plain(similarity: Similarity, query: Tensor, support: Tensor) -> Form:
    found = similarity.form(query, support)
    assert isinstance(found, Form)  # a scale has no scales of its own
    return found
