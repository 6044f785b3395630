"""How well embeddings retrieve: Recall@k, R-precision, MAP@R and the votes of k neighbors, beside chance.

The whole gallery is ranked for a few queries at a time, so that memory does not grow with the number of queries.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.similarities import Similarity, named_similarity, traits_of
from retrieval_explain.ranking.neighbors import Neighbors, nearest
from retrieval_explain.ranking.ranked_lists import RankedLists, Tied, rank_gallery
from retrieval_explain.ranking.ranking_metrics import mean_average_precision_at_r, r_precision, recall_at_k
from retrieval_explain.ranking.tied_votes import majority_vote_accuracy, weighted_vote_accuracy

DEPTHS = (1, 2, 4, 8)
PAIRS_AT_ONCE = 2**20
"""Similarities ranked at a time, some thirty numbers of eight bytes for each."""
ROUNDING = 1e-12
"""Similarities nearer than this share of their scale are one similarity, computed in another order."""
CHANCE_DRAWS = 256
"""Random choices of voters behind the chance of a vote, of one query of each class; fewer in a large gallery."""


@dataclass(frozen=True)
class Searched:
    """Queries and the gallery they are searched in. ``own`` is a query's row there, which it never finds, or -1."""

    queries: Float[Tensor, "query channel"]
    labels: Int[Tensor, "query"]
    own: Int[Tensor, "query"]
    gallery: Float[Tensor, "gallery channel"]
    gallery_labels: Int[Tensor, "gallery"]
    similarity: str | Similarity
    pairs_at_once: int = PAIRS_AT_ONCE

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise Mistake(
                f"expected a gallery with an image besides the query, but it has {len(self.gallery)}; add images."
            )

    @property
    def reach(self) -> int:
        """The number of neighbors that every query has."""
        return len(self.gallery) - int(bool((self.own >= 0).any()))

    def blocks(self) -> Iterator[tuple[slice, Float[Tensor, "block gallery"]]]:
        """Yield the similarities of a few queries at a time to the whole gallery, in float64."""
        size, gallery = max(1, self.pairs_at_once // len(self.gallery)), self.gallery.double()
        pairwise = named_similarity(self.similarity).pairwise
        for part in slices(len(self.queries), size):
            yield part, pairwise(self.queries[part].double(), gallery)

    def neighbors(self, k: int) -> Neighbors:
        """Search the k nearest of each query, exactly; where there are fewer, all of them."""
        found = []
        wanted, rows = min(k, self.reach), torch.arange(len(self.gallery))
        for part, similarities in self.blocks():
            is_self = rows == self.own[part, None]
            found.append(nearest(rows.expand_as(similarities), similarities.masked_fill(is_self, -torch.inf), wanted))
        indices = torch.cat([block.indices for block in found])
        return Neighbors(indices, torch.cat([block.similarities for block in found]), self.gallery_labels[indices])


def retrieval_scores(
    searched: Searched, k: int, temperature: float, advance: Callable[[int], None] = lambda _: None
) -> dict[str, Tied]:
    """Return every score of every query, in [0, 1], larger is better, with ties counted three ways.

    k neighbors vote, or as many as there are; Recall@k is left out beyond that. A query without any other image of
    its class is NaN. Similarities that differ by rounding alone are tied. ``advance`` is told of queries done.
    """
    scale = _scale(searched)
    parts = []
    for part, similarities in searched.blocks():
        lists = rank_gallery(
            similarities, searched.labels[part], searched.gallery_labels, searched.own[part], ROUNDING * scale
        )
        parts.append({name: score(lists) for name, score in _scores(searched, k, temperature).items()})
        advance(len(similarities))
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _scale(searched: Searched) -> float:
    """Return the size of the numbers whose rounding makes similarities differ: those that a similarity is a sum of."""
    traits = traits_of(named_similarity(searched.similarity))
    if traits.divides_by_norm:
        return 1.0
    if traits.transform is None:
        return max(float(similarities.abs().amax()) for _, similarities in searched.blocks())
    return float(traits.transform(searched.gallery.double()).square().sum(dim=1).amax())


def chance_levels(searched: Searched, k: int) -> dict[str, float]:
    """Return the expected mean of every score for an embedding that has collapsed: every order equally likely.

    Queries of one class have one chance, so one of each class is ranked, with the whole gallery tied. The votes'
    chance is the mean over a few random choices of voters; the others are exact.
    """
    classes, of_class, count = searched.labels.unique(return_inverse=True, return_counts=True)
    copies = max(1, min(CHANCE_DRAWS, searched.pairs_at_once // len(searched.gallery)))
    alike = torch.zeros(copies, len(searched.gallery), dtype=torch.float64)
    scores = _scores(searched, k, temperature=1.0, draws=1)
    found: dict[str, list[Tensor]] = {name: [] for name in scores}
    for number in range(len(classes)):
        copied = (of_class == number).nonzero()[:1, 0].expand(copies)
        lists = rank_gallery(alike, searched.labels[copied], searched.gallery_labels, searched.own[copied])
        for name, score in scores.items():
            found[name].append(score(lists).expected.mean())
    return {name: float(torch.stack(values).repeat_interleave(count).nanmean()) for name, values in found.items()}


def _scores(
    searched: Searched, k: int, temperature: float, draws: int = 64
) -> dict[str, Callable[[RankedLists], Tied]]:
    voters = min(k, searched.reach)
    recalls = {f"recall@{depth}": partial(recall_at_k, k=depth) for depth in DEPTHS if depth <= searched.reach}
    return recalls | {
        "r-precision": r_precision,
        "map@r": mean_average_precision_at_r,
        "weighted vote": partial(weighted_vote_accuracy, k=voters, temperature=temperature, draws=draws),
        "majority vote": partial(majority_vote_accuracy, k=voters, draws=draws),
    }


def _joined(parts: list[Tied]) -> Tied:
    return Tied(
        torch.cat([part.optimistic for part in parts]),
        torch.cat([part.expected for part in parts]),
        torch.cat([part.pessimistic for part in parts]),
    )
