"""Ranked lists of neighbors that know which of their places are tied.

A ranking does not order what it scores alike. The lists keep, for every place, the run of places that share its
similarity, so that a metric can say what it would be for every order of them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake


@dataclass(frozen=True)
class Tied:
    """A metric where tied neighbors stand with the relevant first, in all orders on average, with the relevant last.

    These are ``optimistic``, ``expected`` and ``pessimistic``; each is in [0, 1], larger is better, and NaN for a query
    that has nothing to find.
    """

    optimistic: Float[Tensor, "*query"]
    expected: Float[Tensor, "*query"]
    pessimistic: Float[Tensor, "*query"]

    def mean(self) -> "Tied":
        """Average over the queries that have something to find; NaN when none has."""
        return Tied(self.optimistic.nanmean(), self.expected.nanmean(), self.pessimistic.nanmean())

    @property
    def undefined(self) -> int:
        """The number of queries without any other image of their class, which the mean leaves out."""
        return int(self.expected.isnan().sum())


@dataclass(frozen=True)
class RankedLists:
    """Neighbors of each query, most similar first, and the runs of places that share one similarity.

    ``first`` and ``end`` bound the tied run of each place, counted from 0, end exclusive. ``found`` counts the relevant
    neighbors before each place. The first ``length`` places of a row count; ``unlisted`` gallery images follow unseen.
    """

    similarities: Float[Tensor, "query place"]
    labels: Int[Tensor, "query place"]
    query_labels: Int[Tensor, "query"]
    first: Int[Tensor, "query place"]
    end: Int[Tensor, "query place"]
    found: Int[Tensor, "query place_and_one"]
    references: Int[Tensor, "query"]
    length: Int[Tensor, "query"]
    unlisted: Int[Tensor, "query"]

    def depth(self, k: int) -> Int[Tensor, "query"]:
        """Return the same depth k for every query.

        Raises:
            ValueError: k is below 1.
        """
        if k < 1:
            raise Mistake(f"a ranking is judged on k neighbors, k of 1 or more, but k is {k}. Raise k.")
        return torch.full_like(self.references, k)

    def must_reach(self, depth: Int[Tensor, "query"], metric: str) -> None:
        """Refuse a depth at which the lists, or the ties of their last place, leave the metric open.

        Raises:
            ValueError: a list is shorter than the depth, or the ties at that place may go on past its end.
        """
        short = depth > self.length
        if short.any():
            needed, there_are = int(depth[short][0]), int(self.length[short][0])
            raise Mistake(
                f"{metric} needs {needed} neighbors besides the query itself, but a list holds {there_are}; "
                "lower k or search for more."
            )
        end = self.end.gather(1, (depth - 1).clamp(min=0)[:, None])[:, 0]
        is_open = (depth > 0) & (end == self.length) & (self.unlisted > 0)
        if is_open.any():
            raise Mistake(
                f"{metric} cannot tell whether place {int(depth[is_open][0])} is tied with images beyond the end of "
                f"{int(is_open.sum())} of {len(is_open)} lists; search for more neighbors, beyond that place."
            )

    def judged(self, optimistic: Tensor, expected: Tensor, pessimistic: Tensor) -> Tied:
        """Make values of queries that have something to find; the others are NaN."""
        nothing = self.references == 0
        values = (value.double().masked_fill(nothing, torch.nan) for value in (optimistic, expected, pessimistic))
        return Tied(*values)


def own_places(query_ids: Sequence[Hashable], gallery_ids: Sequence[Hashable]) -> Int[Tensor, "query"]:
    """Return the place in the gallery of each query by its id, -1 for a query that is not there.

    Raises:
        ValueError: two gallery images have one id.
    """
    place_of = {identity: place for place, identity in enumerate(gallery_ids)}
    if len(place_of) < len(gallery_ids):
        raise Mistake(f"every gallery id must be unique, but {len(gallery_ids)} images have {len(place_of)} ids.")
    return torch.tensor([place_of.get(identity, -1) for identity in query_ids], dtype=torch.long)


def rank_gallery(
    similarities: Float[Tensor, "query gallery"],
    query_labels: Int[Tensor, "query"],
    gallery_labels: Int[Tensor, "gallery"],
    leave_self_out: Int[Tensor, "query"] | None = None,
    tolerance: float = 0.0,
) -> RankedLists:
    """Rank the whole gallery for each query. Memory is some ten times that of the similarities: pass queries in blocks.

    Args:
        similarities: larger is more alike.
        query_labels: the class of each query.
        gallery_labels: the class of each gallery image.
        leave_self_out: the place of each query in the gallery (see ``own_places``), -1 where it is not in it.
        tolerance: neighboring places whose similarities differ by at most this much are tied, in chains.

    Raises:
        ValueError: a similarity is not finite, a place is outside the gallery, or the tolerance is negative.
    """
    everything = torch.arange(len(gallery_labels), device=similarities.device).expand_as(similarities)
    return rank_neighbors(everything, similarities, query_labels, gallery_labels, leave_self_out, tolerance)


def rank_neighbors(
    indices: Int[Tensor, "query place"],
    similarities: Float[Tensor, "query place"],
    query_labels: Int[Tensor, "query"],
    gallery_labels: Int[Tensor, "gallery"],
    leave_self_out: Int[Tensor, "query"] | None = None,
    tolerance: float = 0.0,
) -> RankedLists:
    """Rank the neighbors that a search returned: ``indices`` into the gallery, each at most once per query.

    The arguments are those of ``rank_gallery``. A list that ends before the gallery does must go on past the ties at
    the depth of a metric, so search for k + 1 neighbors, and one more when the query is among them.
    """
    _must_be_rankable(similarities, indices, len(gallery_labels), leave_self_out, tolerance)
    in_gallery = torch.full_like(query_labels, -1) if leave_self_out is None else leave_self_out
    is_self = indices == in_gallery[:, None]
    ranked, order = similarities.masked_fill(is_self, -torch.inf).sort(dim=1, descending=True, stable=True)
    labels = gallery_labels[indices].gather(1, order)
    is_relevant = labels == query_labels[:, None]
    first, end = tied_runs(ranked, tolerance)
    found = torch.nn.functional.pad(is_relevant.cumsum(dim=1), (1, 0))
    by_class, counts = gallery_labels.sort().values, (in_gallery >= 0).long()
    same_class = torch.searchsorted(by_class, query_labels, right=True) - torch.searchsorted(by_class, query_labels)
    own_label = gallery_labels[in_gallery.clamp(min=0)] if len(gallery_labels) else query_labels
    references = same_class - counts * (own_label == query_labels)
    length = (~is_self).sum(dim=1)
    unlisted = len(gallery_labels) - counts - length
    return RankedLists(ranked, labels, query_labels, first, end, found, references, length, unlisted)


def tied_runs(
    descending: Float[Tensor, "query place"], tolerance: float = 0.0
) -> tuple[Int[Tensor, "query place"], Int[Tensor, "query place"]]:
    """Return where the run of tied places round each place begins and ends, counted from 0, end exclusive."""
    places = torch.arange(descending.shape[1], device=descending.device)
    falls = torch.ones_like(descending, dtype=torch.bool)
    falls[:, 1:] = descending[:, :-1] - descending[:, 1:] > tolerance
    first = torch.where(falls, places, 0).cummax(dim=1).values if len(places) else places.expand_as(descending)
    return first, torch.searchsorted(first, first, right=True)


def _must_be_rankable(
    similarities: Tensor, indices: Tensor, gallery: int, own_places: Tensor | None, tolerance: float
) -> None:
    if similarities.shape[1] == 0:
        raise Mistake("every query needs at least one neighbor to rank, but the lists are empty.")
    if tolerance < 0:
        raise Mistake(f"the tolerance of ties must be 0 or more, but it is {tolerance}.")
    if not (is_finite := similarities.isfinite().all(dim=1)).all():
        raise Mistake(
            f"{int((~is_finite).sum())} of {len(is_finite)} queries have a similarity that is not finite, first query "
            f"{int((~is_finite).nonzero()[0])}. It cannot be ranked; drop or repair its embeddings."
        )
    _must_lie_in_gallery("neighbor", indices, 0, gallery)
    if own_places is not None:
        _must_lie_in_gallery("query left out", own_places, -1, gallery)


def _must_lie_in_gallery(role: str, places: Tensor, lowest: int, gallery: int) -> None:
    outside: Bool[Tensor, "..."] = (places < lowest) | (places >= gallery)
    if outside.any():
        raise Mistake(
            f"the place of every {role} must lie from {lowest} to {gallery - 1}, but one is {int(places[outside][0])}."
        )
