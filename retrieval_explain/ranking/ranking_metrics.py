"""How well ranked lists of neighbors keep a query's class together, with tied similarities counted three ways.

A metric returns one value per query, in [0, 1], larger is better. It is NaN for a query without any other image of its
class in the gallery: there is nothing to find, which is neither a hit nor a miss. A ranking does not order what it
scores alike, so each value comes as ``Tied``: relevant neighbors first, last, or the mean over all orders of the tied.

References: Musgrave, Belongie, Lim, "A Metric Learning Reality Check", 2020 (precision at 1, R-precision, MAP@R); Oh
Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", 2016 (Recall@k).
Notation: R is the number of references, the gallery images of the query's class, the query itself left out.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retrieval_explain.ranking.ranked_lists import RankedLists, Tied


def recall_at_k(lists: RankedLists, k: int) -> Tied:
    """Return whether one of the k nearest neighbors has the query's class: metric learning's Recall@k.

    The expected value is the chance that a hypergeometric draw from the tied at place k finds one.

    Raises:
        ValueError: k is below 1, a list is shorter than k, or the ties at place k run past its end.
    """
    run = _run_at_depth(lists, lists.depth(k), "Recall@k")
    other = run.size - run.relevant
    missed = torch.exp(_log_choose(other, run.taken) - _log_choose(run.size, run.taken))
    already = run.found_above > 0
    return lists.judged(
        already | (run.relevant > 0),
        torch.where(already, 1.0, 1 - missed),
        already | (run.taken > other),
    )


def precision_at_k(lists: RankedLists, k: int) -> Tied:
    """Return the share of the k nearest neighbors that have the query's class; k = 1 is precision at 1.

    Raises:
        ValueError: k is below 1, a list is shorter than k, or the ties at place k run past its end.
    """
    return _precision(lists, lists.depth(k), "precision at k")


def r_precision(lists: RankedLists) -> Tied:
    """Return the share of the R nearest neighbors that have the query's class.

    Raises:
        ValueError: a list is shorter than R, or the ties at place R run past its end.
    """
    return _precision(lists, lists.references, "R-precision")


def mean_average_precision_at_r(lists: RankedLists) -> Tied:
    """Return (1/R) Σ_{i ≤ R} P(i)·rel(i) per query, P(i) the precision at i; the mean over queries is MAP@R.

    The expected value is exact: within a tied run of m places, r of them relevant, a place is relevant with
    probability r/m and another one is relevant with it with probability r(r - 1)/(m(m - 1)).

    Raises:
        ValueError: a list is shorter than R, or the ties at place R run past its end.
    """
    _run_at_depth(lists, lists.references, "MAP@R")
    deepest = int(lists.references.amax()) if len(lists.references) else 0
    rank = torch.arange(1, deepest + 1, device=lists.first.device).expand(len(lists.first), -1)
    run = _run_at(lists, rank)
    other, partners = run.size - run.relevant, (run.size - 1).clamp(min=1)
    together = (run.taken - 1) * (run.relevant - 1) / partners
    addends = (
        (run.found_above + run.taken) * (run.taken <= run.relevant),
        (run.found_above + 1 + together) * run.relevant / run.size,
        (run.found_above + run.taken - other) * (run.taken > other),
    )
    counts = rank <= lists.references[:, None]
    return lists.judged(*((addend * counts / rank).sum(dim=1) / lists.references for addend in addends))


@dataclass(frozen=True)
class _Run:
    """The tied run round a place: what stands above it, what it holds, and how much of it is taken up to the place."""

    found_above: Float[Tensor, "query *places"]
    size: Float[Tensor, "query *places"]
    relevant: Float[Tensor, "query *places"]
    taken: Float[Tensor, "query *places"]


def _run_at(lists: RankedLists, rank: Int[Tensor, "query places"]) -> _Run:
    """Describe the tied runs round the given ranks, counted from 1."""
    first, end = lists.first.gather(1, rank - 1), lists.end.gather(1, rank - 1)
    above = lists.found.gather(1, first)
    relevant = lists.found.gather(1, end) - above
    return _Run(above.double(), (end - first).double(), relevant.double(), (rank - first).double())


def _run_at_depth(lists: RankedLists, depth: Int[Tensor, "query"], metric: str) -> _Run:
    lists.must_reach(depth, metric)
    run = _run_at(lists, depth.clamp(min=1)[:, None])
    return _Run(run.found_above[:, 0], run.size[:, 0], run.relevant[:, 0], run.taken[:, 0])


def _precision(lists: RankedLists, depth: Int[Tensor, "query"], metric: str) -> Tied:
    run = _run_at_depth(lists, depth, metric)
    other = run.size - run.relevant
    relevant_taken = (
        torch.minimum(run.relevant, run.taken),
        run.relevant * run.taken / run.size,
        (run.taken - other).clamp(min=0),
    )
    return lists.judged(*((run.found_above + taken) / depth for taken in relevant_taken))


def _log_choose(of: Tensor, choose: Tensor) -> Tensor:
    """Return the logarithm of the binomial coefficient, minus infinity where there is no choice."""
    log_choices: Tensor = torch.lgamma(of + 1) - torch.lgamma(choose + 1) - torch.lgamma(of - choose + 1)
    return log_choices
