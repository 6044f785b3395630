"""What a similarity may say of itself besides its four functions, as an attribute ``traits`` next to its code.

All of it is optional, and nothing is assumed that a similarity does not say. One without traits is searched by its
``pairwise`` alone, in float64, and has no index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.heads.direction import is_zero
from fsl_explain.similarities.similarity import Similarity

Transform = Callable[[Tensor], Tensor]
"""A function of embeddings, of any leading dimensions, to vectors of any length."""


@runtime_checkable
class Bounded(Protocol):
    """A comparison that knows by how much it can be off."""

    def __call__(
        self,
        products: Float[Tensor, "*batch query row"],
        query: Float[Tensor, "*batch query channel"],
        lengths: Float[Tensor, "*batch row"],
        unit: float,
    ) -> tuple[Float[Tensor, "*batch query row"], Float[Tensor, "*batch query 1"]]:
        """Turn inner products into similarities up to a constant of each query, in place, and bound their error.

        ``lengths`` are the norms of the rows. A product is off by at most ``unit`` times the norms of its sides.
        """
        ...


@dataclass(frozen=True)
class InFloat32:
    """How pairs are compared in float32. Those it cannot tell apart are compared by ``contributions`` in float64.

    ``prepared`` makes of a query what is compared, in float32; ``bounded`` is the comparison, and a bound on its error.
    """

    prepared: Transform
    bounded: Bounded


@dataclass(frozen=True)
class Traits:
    """What a similarity S says of itself.

    Laws: S(q, g) is f(q)·f(g) with f = ``inner_product_of``, and -‖f(q) - f(g)‖² with f = ``distance_of``. Either
    makes an index of S one of f's values. A linear classifier takes an S that is an inner product.

    - ``divides_by_norm``: f has norm 1, which comes from a last division; S is in [-1, 1].
    - ``is_affine_in_query``: the difference of two S of one query is affine in the query, but for that division.
    - ``zero_has_none``: a zero embedding has no similarity and is refused.
    - ``in_float32``: how it is searched in float32; None: in float64 alone.
    - ``sums_over_channels``: it has ``contributions``.
    - ``has_form``: it is linear in either side with gains frozen; False for a learned one.
    - ``weighs_supports``: it has ``prototype_weights``; False: it compares with the mean support itself.
    - ``parts``: how many embeddings stand behind each other and are compared each alone.
    """

    inner_product_of: Transform | None = None
    distance_of: Transform | None = None
    divides_by_norm: bool = False
    is_affine_in_query: bool = False
    zero_has_none: bool = False
    in_float32: InFloat32 | None = None
    sums_over_channels: bool = True
    has_form: bool = True
    weighs_supports: bool = True
    parts: int = 1

    @property
    def transform(self) -> Transform | None:
        """The f of either law; None where neither holds, so that there is no index."""
        return self.distance_of if self.inner_product_of is None else self.inner_product_of


def traits_of(similarity: Similarity) -> Traits:
    """Return what a similarity says of itself: nothing where it has no ``traits``."""
    traits: Traits = getattr(similarity, "traits", Traits())
    return traits


def has_form(similarity: Similarity) -> bool:
    """Say whether a similarity can be written as a ``Form``; a learned one, or one with ``pairwise`` alone, cannot."""
    return traits_of(similarity).has_form and hasattr(similarity, "form")


def weighs_supports(similarity: Similarity) -> bool:
    """Say whether the similarity to a mean of supports can be written as a weighted sum of those to each."""
    return has_form(similarity) and traits_of(similarity).weighs_supports


def is_without(similarity: Similarity, embeddings: Float[Tensor, "*batch channel"]) -> Bool[Tensor, "*batch"]:
    """Return which embeddings have no such similarity because they, or one of their parts, are zero."""
    traits = traits_of(similarity)
    if not traits.zero_has_none or embeddings.shape[-1] % traits.parts:
        return torch.zeros(embeddings.shape[:-1], dtype=torch.bool, device=embeddings.device)
    return is_zero(embeddings.unflatten(-1, (traits.parts, -1))).any(dim=-1)


def unchanged(values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    """Return embeddings as they are."""
    return values
