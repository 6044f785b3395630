"""How often the nearest neighbors vote for the query's class, with tied neighbors and tied votes counted three ways.

Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018 (weighted vote).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import KnnVote, MajorityVote
from retrieval_explain.ranking.ranked_lists import RankedLists, Tied

ROUNDING = 1e-12
"""Votes nearer than this share of all votes are equal: sums of the same numbers in another order."""


def weighted_vote_accuracy(
    lists: RankedLists, k: int, temperature: float = 0.07, draws: int = 64, seed: int = 0
) -> Tied:
    """Return whether the k nearest neighbors, each voting with exp(similarity/temperature), choose the query's class.

    Of the neighbors tied at place k only some vote; then the expected value is the mean over ``draws`` random choices
    made from ``seed``, and exact otherwise. Classes with equal votes share the point (expected), or the query's class
    wins (optimistic) or loses (pessimistic) against them.

    Raises:
        ValueError: the temperature is not above 0, k or draws is below 1, a list is shorter than k, or the ties at
            place k run past its end.
    """
    return _vote_accuracy(lists, k, KnnVote(temperature=temperature).votes, draws, seed)


def majority_vote_accuracy(lists: RankedLists, k: int, draws: int = 64, seed: int = 0) -> Tied:
    """Return whether the k nearest neighbors, one vote each, choose the query's class; ties as in the weighted vote.

    Raises:
        ValueError: k or draws is below 1, a list is shorter than k, or the ties at place k run past its end.
    """
    return _vote_accuracy(lists, k, MajorityVote().votes, draws, seed)


@dataclass(frozen=True)
class _Poll:
    """The certain votes of each class, and the tied neighbors round place k of which only ``seats`` vote."""

    certain: Float[Tensor, "query way"]
    tied: Float[Tensor, "query way"]
    seats: Float[Tensor, "query"]
    vote: Float[Tensor, "query 1"]
    own: Int[Tensor, "query 1"]


def _vote_accuracy(lists: RankedLists, k: int, weigh: Callable[[Tensor], Tensor], draws: int, seed: int) -> Tied:
    lists.must_reach(lists.depth(k), "the vote of k neighbors")
    if draws < 1:
        raise Mistake(f"the mean over random choices needs 1 draw or more, but draws is {draws}. Raise draws.")
    classes, class_of = torch.cat([lists.query_labels, lists.labels.flatten()]).unique(return_inverse=True)
    own, way = class_of[: len(lists.query_labels), None], class_of[len(lists.query_labels) :].view_as(lists.labels)
    # One similarity, hence one vote, for all places of a tied run.
    similarity = lists.similarities.double().gather(1, lists.first)
    is_tied = (lists.first < k) & (lists.end > k)
    votes = weigh(similarity - similarity[:, :1])
    poll = _Poll(
        certain=_count(way, votes * (lists.end <= k), len(classes)),
        tied=_count(way, is_tied.double(), len(classes)),
        seats=(k - lists.first[:, k - 1]) * is_tied[:, k - 1].double(),
        vote=votes[:, k - 1 : k],
        own=own,
    )
    expected = _chance_to_win(poll.certain, own)
    some = is_tied.any(dim=1).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    if len(some):
        drawn = torch.zeros_like(expected[some])
        for _ in range(draws):
            chosen = _draw(is_tied[some], poll.seats[some], generator)
            cast = poll.certain[some] + poll.vote[some] * _count(way[some], chosen.double(), len(classes))
            drawn += _chance_to_win(cast, own[some])
        expected[some] = drawn / draws
    return lists.judged(_can_win(poll), expected, ~_can_lose(poll))


def _count(way: Int[Tensor, "query place"], votes: Float[Tensor, "query place"], ways: int) -> Tensor:
    return votes.new_zeros(len(votes), ways).scatter_add(1, way, votes)


def _rounding(poll: _Poll) -> Float[Tensor, "query 1"]:
    return ROUNDING * (poll.certain.sum(dim=1, keepdim=True) + poll.vote * poll.seats[:, None])


def _chance_to_win(votes: Float[Tensor, "query way"], own: Int[Tensor, "query 1"]) -> Float[Tensor, "query"]:
    """Return one over the number of winning classes where the query's own is among them, else 0."""
    wins = votes >= votes.amax(dim=1, keepdim=True) - ROUNDING * votes.sum(dim=1, keepdim=True)
    return wins.gather(1, own)[:, 0] / wins.sum(dim=1).double()


def _can_win(poll: _Poll) -> Bool[Tensor, "query"]:
    """Seat all tied neighbors of the own class, and see whether the other seats fit below its votes."""
    own_seats = torch.minimum(poll.tied.gather(1, poll.own), poll.seats[:, None])
    own_votes = poll.certain.gather(1, poll.own) + poll.vote * own_seats
    margin = own_votes - poll.certain + _rounding(poll)
    is_own = torch.zeros_like(poll.tied, dtype=torch.bool).scatter(1, poll.own, True)
    fitting = torch.minimum(poll.tied, (margin / poll.vote).floor().clamp(min=0)).masked_fill(is_own, 0)
    return (margin >= 0).all(dim=1) & (fitting.sum(dim=1) >= poll.seats - own_seats[:, 0])


def _can_lose(poll: _Poll) -> Bool[Tensor, "query"]:
    """Seat the own class last, and see whether any other class can draw level."""
    tied_others = poll.tied.sum(dim=1, keepdim=True) - poll.tied.gather(1, poll.own)
    own_votes = poll.certain.gather(1, poll.own) + poll.vote * (poll.seats[:, None] - tied_others).clamp(min=0)
    rivals = poll.certain + poll.vote * torch.minimum(poll.tied, poll.seats[:, None])
    strongest = rivals.scatter(1, poll.own, -torch.inf).amax(dim=1, keepdim=True)
    return (strongest >= own_votes - _rounding(poll))[:, 0]


def _draw(
    is_tied: Bool[Tensor, "query place"], seats: Float[Tensor, "query"], generator: torch.Generator
) -> Bool[Tensor, "query place"]:
    """Choose as many of the tied places as there are seats, all choices equally likely."""
    keys = torch.rand(is_tied.shape, generator=generator, dtype=torch.float64).to(is_tied.device)
    ranks = keys.masked_fill(~is_tied, 2.0).argsort(dim=1).argsort(dim=1)
    return is_tied & (ranks < seats[:, None])
