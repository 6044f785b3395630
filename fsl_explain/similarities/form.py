"""Similarities written as linear in each of their two sides, with gains frozen at the pair's own values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Form:
    """A similarity written as S = z'ᵀ M q' + u·z' + v·q' + k, with M = scale · metric.

    Norms and other gains are frozen at the pair's own values. Law: ``value(z', q')`` is the similarity of
    the pair. A ``metric`` of None is the identity; ``query_slope`` is u, ``support_slope`` v and ``constant`` k, 0
    where they are None. Dimensions that are the same for all pairs may have size 1.
    """

    scale: Float[Tensor, "*#pairs"]
    metric: Float[Tensor, "channel channel"] | None = None
    query_slope: Float[Tensor, "*#pairs channel"] | None = None
    support_slope: Float[Tensor, "*#pairs channel"] | None = None
    constant: Float[Tensor, "*#pairs"] | None = None

    def value(
        self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
    ) -> Float[Tensor, "*pairs"]:
        """Add the four terms up."""
        total = (self.on_support(query) * support).sum(dim=-1)
        return total + self.along_query(query)

    def on_query(self, support: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*pairs channel"]:
        """Return M q' + u: what the query's embedding is multiplied with."""
        moved = self.scale[..., None] * (support if self.metric is None else support @ self.metric.T)
        return moved if self.query_slope is None else moved + self.query_slope

    def on_support(self, query: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*pairs channel"]:
        """Return Mᵀ z' + v: what the support's embedding is multiplied with."""
        moved = self.scale[..., None] * (query if self.metric is None else query @ self.metric)
        return moved if self.support_slope is None else moved + self.support_slope

    def along_query(self, query: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*#pairs"]:
        """Return u·z' + k: what the support's embedding has no part in."""
        return self._rest(self.query_slope, query)

    def along_support(self, support: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*#pairs"]:
        """Return v·q' + k: what the query's embedding has no part in."""
        return self._rest(self.support_slope, support)

    def reference(
        self, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch channel"]:
        """Return g = Σ_k w_k (M_k q'_k + u_k), one vector per query whatever the number of supports."""
        summed = _weighted_sum(weights * self.scale, supports)
        found = summed if self.metric is None else summed @ self.metric.T
        return found if self.query_slope is None else found + _weighted_sum(weights, self.query_slope)

    def with_query(
        self, part: Float[Tensor, "*batch channel"], supports: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return (M_k q'_k + u_k)·x for a part x of the query's embedding, without writing the references out."""
        moved = supports if self.metric is None else supports @ self.metric.T
        products = self.scale * _products(part, moved)
        return (
            products if self.query_slope is None else products + (self.query_slope * part[..., None, None, :]).sum(-1)
        )

    def with_supports(
        self, query: Float[Tensor, "*batch channel"], parts: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return (Mᵀ z' + v_k)·x_k for a part x_k of each support's embedding."""
        products = self.scale * _products(query if self.metric is None else query @ self.metric, parts)
        return products if self.support_slope is None else products + (self.support_slope * parts).sum(dim=-1)

    def table(
        self, left: Float[Tensor, "*#pairs row channel"], right: Float[Tensor, "*#pairs column channel"]
    ) -> Float[Tensor, "*pairs row column"]:
        """Return the form of the sums of both sides' rows as one number for each pair of rows.

        The terms in which one side, or both, have no part are in the last column, the last row and the last number.
        """
        moved = right if self.metric is None else right @ self.metric.T
        found: Tensor = self.scale[..., None, None] * (left @ moved.transpose(-1, -2))
        if self.query_slope is not None:
            found[..., -1] += (left @ self.query_slope[..., None]).squeeze(-1)
        if self.support_slope is not None:
            found[..., -1, :] += (right @ self.support_slope[..., None]).squeeze(-1)
        if self.constant is not None:
            found[..., -1, -1] += self.constant
        return found

    @property
    def moves_with_query(self) -> bool:
        """Whether u is there, which holds values of the query frozen."""
        return self.query_slope is not None

    @property
    def moves_with_support(self) -> bool:
        """Whether v is there, which holds values of the support frozen."""
        return self.support_slope is not None

    def _rest(self, slope: Tensor | None, embedding: Tensor) -> Tensor:
        rest = self.scale.new_zeros(self.scale.shape) if self.constant is None else self.constant
        return rest if slope is None else rest + (slope * embedding).sum(dim=-1)


@dataclass(frozen=True)
class SideBySideForms:
    """The weighted sum of the forms of parts that stand behind each other in the embeddings, all of one length.

    It answers all that a ``Form`` does, with the same laws: M has the matrices of ``parts`` as its blocks, each times
    its number in ``weights``.
    """

    parts: tuple[Form, ...]
    weights: tuple[float, ...]

    def value(
        self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
    ) -> Float[Tensor, "*pairs"]:
        """Add the values of the parts up."""
        return self._sum(lambda part, q, s: part.value(q, s), query, support)

    def on_query(self, support: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*pairs channel"]:
        """Return what the query's embedding is multiplied with."""
        return self._joined(lambda part, s: part.on_query(s), support)

    def on_support(self, query: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*pairs channel"]:
        """Return what the support's embedding is multiplied with."""
        return self._joined(lambda part, q: part.on_support(q), query)

    def along_query(self, query: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*#pairs"]:
        """Return what the support's embedding has no part in."""
        return self._sum(lambda part, q: part.along_query(q), query)

    def along_support(self, support: Float[Tensor, "*#pairs channel"]) -> Float[Tensor, "*#pairs"]:
        """Return what the query's embedding has no part in."""
        return self._sum(lambda part, s: part.along_support(s), support)

    def reference(
        self, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch channel"]:
        """Return the effective reference, that of each part behind each other."""
        return self._joined(lambda part, s: part.reference(weights, s), supports)

    def with_query(
        self, part: Float[Tensor, "*batch channel"], supports: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return the products of the references with a part of the query's embedding."""
        return self._sum(lambda form, x, s: form.with_query(x, s), part, supports)

    def with_supports(
        self, query: Float[Tensor, "*batch channel"], parts: Float[Tensor, "*episodes way shot channel"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return the products with a part of each support's embedding."""
        return self._sum(lambda form, q, x: form.with_supports(q, x), query, parts)

    def table(
        self, left: Float[Tensor, "*#pairs row channel"], right: Float[Tensor, "*#pairs column channel"]
    ) -> Float[Tensor, "*pairs row column"]:
        """Return the sum of the parts' tables."""
        return self._sum(lambda part, x, y: part.table(x, y), left, right)

    @property
    def moves_with_query(self) -> bool:
        """Whether a part holds values of the query frozen."""
        return any(part.moves_with_query for part in self.parts)

    @property
    def moves_with_support(self) -> bool:
        """Whether a part holds values of the support frozen."""
        return any(part.moves_with_support for part in self.parts)

    def _each(self, function: Callable[..., Tensor], values: tuple[Tensor, ...]) -> Iterator[Tensor]:
        chunks = zip(*(value.chunk(len(self.parts), dim=-1) for value in values), strict=True)
        for part, weight, of_part in zip(self.parts, self.weights, chunks, strict=True):
            yield weight * function(part, *of_part)

    def _sum(self, function: Callable[..., Tensor], *values: Tensor) -> Tensor:
        first, *others = self._each(function, values)
        return sum(others, first)

    def _joined(self, function: Callable[..., Tensor], *values: Tensor) -> Tensor:
        return torch.cat(torch.broadcast_tensors(*self._each(function, values)), dim=-1)


def _products(
    query: Float[Tensor, "*batch channel"], supports: Float[Tensor, "*episodes way shot channel"]
) -> Float[Tensor, "*batch way shot"]:
    """Return the inner product of each query with each of its supports."""
    way, shot = supports.shape[-3:-1]
    flat = supports.flatten(start_dim=-3, end_dim=-2)
    if flat.dim() == 2:  # shared supports: one product for all queries
        return (query.reshape(-1, query.shape[-1]) @ flat.mT).reshape(*query.shape[:-1], way, shot)
    found: Tensor = (query[..., None, :] @ flat.mT).squeeze(-2).unflatten(-1, (way, shot))
    return found


def _weighted_sum(
    weights: Float[Tensor, "*batch way shot"], vectors: Float[Tensor, "*episodes _way _shot channel"]
) -> Float[Tensor, "*batch channel"]:
    if vectors.shape[-3:-1] == (1, 1):
        return weights.sum(dim=(-2, -1))[..., None] * vectors[..., 0, 0, :]
    summed: Tensor = weights.flatten(start_dim=-2)[..., None, :] @ vectors.flatten(start_dim=-3, end_dim=-2)
    return summed.squeeze(-2)
