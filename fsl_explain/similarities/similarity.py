"""What a similarity has to offer so that a decision made with it can be explained."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Form:
    """A similarity written as S = z'ᵀ M q' + u·z' + v·q' + k, with M = scale · metric.

    Norms and other gains are frozen at the pair's own values. Law: ``value(z', q')`` is the similarity of
    the pair. Dimensions that are the same for all pairs may have size 1.
    """

    scale: Float[Tensor, "*#pairs"]
    metric: Float[Tensor, "channel channel"] | None = None  # None: the identity
    query_slope: Float[Tensor, "*#pairs channel"] | None = None  # u
    support_slope: Float[Tensor, "*#pairs channel"] | None = None  # v
    constant: Float[Tensor, "*#pairs"] | None = None  # k

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

    def _rest(self, slope: Tensor | None, embedding: Tensor) -> Tensor:
        rest = self.scale.new_zeros(self.scale.shape) if self.constant is None else self.constant
        return rest if slope is None else rest + (slope * embedding).sum(dim=-1)


def effective_reference(
    form: Form, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot channel"]
) -> Float[Tensor, "*batch channel"]:
    """Return g = Σ_k w_k (M_k q'_k + u_k), one vector per query whatever the number of supports."""
    summed = _weighted_sum(weights * form.scale, supports)
    reference = summed if form.metric is None else summed @ form.metric.T
    return reference if form.query_slope is None else reference + _weighted_sum(weights, form.query_slope)


def _weighted_sum(
    weights: Float[Tensor, "*batch way shot"], vectors: Float[Tensor, "*episodes _way _shot channel"]
) -> Float[Tensor, "*batch channel"]:
    if vectors.shape[-3:-1] == (1, 1):
        return weights.sum(dim=(-2, -1))[..., None] * vectors[..., 0, 0, :]
    summed: Tensor = weights.flatten(start_dim=-2)[..., None, :] @ vectors.flatten(start_dim=-3, end_dim=-2)
    return summed.squeeze(-2)


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
        """Return the similarity of every query to every gallery embedding."""
        ...

    def contributions(
        self, query: Float[Tensor, "*pairs channel"], support: Float[Tensor, "*pairs channel"]
    ) -> Float[Tensor, "*pairs channel"]:
        """Split the similarity of each pair into one addend per channel, as FAM does.

        Raises: ``ValueError`` for a similarity that is no sum over channels.
        """
        ...

    def form(self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> Form:
        """Write the similarity of each pair as linear in either side."""
        ...

    def prototype_weights(
        self, supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
    ) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
        """Write the similarity to the mean of the valid supports as a weighted sum of similarities."""
        ...


def uniform_weights(
    supports: Float[Tensor, "*classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
) -> Float[Tensor, "*#classes shot"]:
    """Give each valid support of a class the same weight; the weights of a class sum to 1."""
    shares = valid.to(supports.dtype)
    return shares / shares.sum(dim=-1, keepdim=True)
