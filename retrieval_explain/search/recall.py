"""How many of the true neighbors an index finds, measured against the exact search at the k it is used with."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Neighbors, Rows
from retrieval_explain.search.index import Index, flat, search, widened
from retrieval_explain.search.searcher import Searcher

SAMPLED_QUERIES = 100
SEED = 4321
USUAL_RECALL = 0.95


@runtime_checkable
class HasOwnIndex(Protocol):
    """Rows that are stored where there is an index of them."""

    def indexed(self, similarity: str | Similarity, kind: str | None, k: int, recall: float) -> "Verified | None":
        """Return this index, of a kind where one is asked for, with the recall at k that was measured of it.

        None where it serves no such similarity, and no kind is asked for.
        """
        ...


@dataclass(frozen=True)
class Verified:
    """An index with the recall it was seen to reach.

    ``recall`` is the mean share of the ``k`` nearest rows that it finds, in [0, 1], over so many ``queries``, which are
    rows of the bank; ``asked`` is the share that was wanted.
    """

    index: Index | Searcher
    recall: float
    k: int
    queries: int
    asked: float

    @property
    def reached(self) -> bool:
        """Whether the index finds as much as was asked for."""
        return self.recall >= self.asked

    @property
    def sentence(self) -> str:
        """What was measured, in words; it says so where that is less than was asked for."""
        measured = f"recall@{self.k} {self.recall:.3f} on {self.queries} sampled rows"
        return measured if self.reached else f"{measured}, below the {self.asked:g} that was asked for"


def own_index(rows: Rows, similarity: str | Similarity) -> Verified | None:
    """Return the index that rows have where they are stored, with its recall at the usual k; None where they do not."""
    if not isinstance(rows, HasOwnIndex) or not rows.shape[0]:
        return None
    return rows.indexed(similarity, None, min(DEFAULT_K, rows.shape[0]), USUAL_RECALL)


def check_recall(recall: float) -> None:
    """Refuse what is no share of the neighbors. Raises: ``ValueError``."""
    if isinstance(recall, bool) or not isinstance(recall, int | float | np.number) or not 0 <= recall <= 1:
        raise Mistake(f"expected a recall from 0 to 1, but got {recall!r:.80}; 0.95 is usual.")


def recall_against(found: Neighbors, exact: Neighbors) -> Float[Tensor, "query"]:
    """Return the share of each query's exact neighbors that were found; a found row as near as the last counts."""
    last = exact.similarities[:, -1:]
    within = found.similarities >= last - 1e-12 * last.abs().clamp(min=1)
    return within.double().mean(dim=-1)


def verify(index: Index | Searcher, rows: Rows, k: int, target: float = USUAL_RECALL) -> Verified:
    """Widen an index until it finds the asked share of the k nearest neighbors of a sample of the bank's rows.

    It stops at the widest search, whatever that reaches; the recall is that of the returned settings.
    """
    count = min(SAMPLED_QUERIES, rows.shape[0])
    chosen = np.sort(np.random.default_rng(SEED).choice(rows.shape[0], count, replace=False))
    queries = rows.take(torch.from_numpy(chosen))
    if index.is_exact:
        return Verified(index, 1.0, k, count, target)
    exact = search(flat(index.similarity), rows, queries, k)
    while True:
        recall = _recall_of(index, rows, queries, k, exact)
        wider = widened(index) if recall < target else None
        if wider is None:
            return Verified(index, recall, k, count, target)
        index = wider


def _recall_of(
    index: Index | Searcher, rows: Rows, queries: Float[Tensor, "query channel"], k: int, exact: Neighbors
) -> float:
    try:
        return float(recall_against(search(index, rows, queries, k), exact).mean())
    except ValueError:  # fewer than k rows were found
        return 0.0
