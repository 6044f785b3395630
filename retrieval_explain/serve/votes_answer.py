"""The vote taken apart: how similar the voters are and how many, who carries it, and what is decided without each."""

from collections.abc import Mapping
from typing import Any

from episodes.errors import Mistake
from fsl_explain.classifiers import KnnVote, Vote
from fsl_explain.explainers.analysis.support_audit import SupportAudit, support_audit
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.receipt import Receipt, SupportLine
from fsl_explain.serve.why import Shown, why
from retrieval_explain.decisions.explained_neighbors import Retrieved, over_all, places_of
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.serve.calls import vote_call
from retrieval_explain.serve.queries import Asked, Queries
from retrieval_explain.serve.search_answer import vote_of
from retrieval_explain.serve.served_bank import ServedBank
from retrieval_explain.serve.why_answer import seen_address

SHOWN_VOTERS = 60


def votes_answer(served: ServedBank, queries: Queries, search: Asked, rule: Vote) -> dict[str, Any]:
    """Return the vote of the neighbors, split, with every voter's part in it."""
    retrieved = queries.retrieved(served, search)
    vote = vote_of(retrieved, rule)
    if vote is None:
        raise Mistake("some of these neighbors have no label, so they cannot vote; search among labeled classes.")
    several = len(vote["classes"]) > 1
    choice = Choice(over_all(rule, retrieved.neighbors), served.bank.similarity)
    explanation = explain_compared(retrieved.compared_by_class, "contrast" if several else "exact", choice)[0]
    temperature = rule.temperature if isinstance(rule, KnnVote) else None
    name = "knn-vote" if isinstance(rule, KnnVote) else "majority-vote"
    call = vote_call(served, search, name, temperature)
    receipt = explanation.receipt()
    query = Shown("the query", seen_address(served, search))
    winner = vote["winner"]
    return {
        **vote,
        "runner_up": vote["classes"][1]["name"] if several else None,
        "split": _split(receipt, several),
        "voters": _voters(served, retrieved, explanation, receipt),
        "why": why(explanation, query, {}, call=call, title=f"Which cells of the query voted for {winner}?"),
        "call": call,
    }


def _split(receipt: Receipt, several: bool) -> dict[str, Any]:
    similar = receipt.supports + receipt.bias
    many = sum(receipt.constants.values())
    what = "the lead of the winner over the runner-up" if several else "the score of the winner"
    return {
        "how_similar": similar,
        "how_many": many,
        "total": receipt.total,
        "score": receipt.score,
        "residual": receipt.residual,
        "words": f"How similar the voters are and how many they are add up to {what}.",
    }


def _voters(
    served: ServedBank, retrieved: Retrieved, explanation: Explanation, receipt: Receipt
) -> list[dict[str, Any]]:
    """Return the voters nearest first, each with what it adds and what is decided without it."""
    neighbors, labels = retrieved.neighbors, served.bank.labels[retrieved.neighbors.indices]
    places, valid = places_of(labels, labels.unique())
    audit = support_audit(explanation)
    classes = explanation.decision.classes
    lines = {(line.class_name, line.shot): line for line in receipt.lines}
    found = [
        _voter(served, neighbors, int(places[label, shot]), audit, (label, shot), lines, classes)
        for label, shot in valid.nonzero().tolist()
    ]
    return sorted(found, key=lambda one: one["rank"])[:SHOWN_VOTERS]


def _voter(
    served: ServedBank,
    neighbors: Neighbors,
    place: int,
    audit: SupportAudit,
    at: tuple[int, int],
    lines: Mapping[tuple[str, int], SupportLine],
    classes: tuple[str, ...],
) -> dict[str, Any]:
    row, line = int(neighbors.indices[place]), lines.get((classes[at[0]], at[1]))
    return {
        **served.brief(row),
        "rank": place + 1,
        "similarity": float(neighbors.similarities[place]),
        "weight": 0.0 if line is None else line.weight,
        "amount": 0.0 if line is None else line.amount,
        "lead_without": float(audit.leads_without[at]),
        "flips": bool(audit.flips[at]),
        "label_without": classes[int(audit.labels_without[at])],
    }
