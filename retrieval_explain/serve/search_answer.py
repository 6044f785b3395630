"""What came back: the neighbors of a query as a gallery, and what their vote says."""

import time
from typing import Any

import torch

from fsl_explain.classifiers import Vote
from retrieval_explain.decisions.explained_neighbors import Retrieved, class_name, over_all, voters_by_class
from retrieval_explain.inspection.inspected import turning_point
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.serve.calls import search_call
from retrieval_explain.serve.queries import Asked, Queries
from retrieval_explain.serve.served_bank import ServedBank


def search_answer(served: ServedBank, queries: Queries, search: Asked, rule: Vote, seen: str | None) -> dict[str, Any]:
    """Search, and return the neighbors with their vote; ``seen`` is where the query's picture is."""
    start = time.perf_counter()
    retrieved = None if search.text is not None else queries.retrieved(served, search)
    found = queries.by_text(served, search).neighbors if retrieved is None else retrieved.neighbors
    vote = None if retrieved is None else vote_of(retrieved, rule)
    own = queries.own_row(served, search)
    winner = "" if vote is None else vote["winner"]
    return {
        "words": queries.words(search),
        "seen": seen,
        "neighbors": neighbors_of(served, found, own, winner),
        "own": None if own is None else int(served.bank.ids[own]),
        "vote": vote,
        "notes": _notes(served, search, found, own, vote is not None),
        "call": search_call(served, search),
        "seconds": time.perf_counter() - start,
    }


def neighbors_of(served: ServedBank, found: Neighbors, own: int | None, winner: str) -> list[dict[str, Any]]:
    """Return each neighbor with its rank from 1, similarity, class and picture."""
    pairs = zip(found.indices.tolist(), found.similarities.tolist(), strict=True)
    return [
        {
            "rank": rank,
            "similarity": similarity,
            **served.brief(row),
            "fault": served.fault_of(row),
            "own": row == own,
            "wins": bool(winner) and served.label_of(row) == winner,
        }
        for rank, (row, similarity) in enumerate(pairs, start=1)
    ]


def vote_of(retrieved: Retrieved, rule: Vote) -> dict[str, Any] | None:
    """Return the vote of all neighbors that were found; None where one has no label."""
    bank, neighbors = retrieved.bank, retrieved.neighbors
    labels = bank.labels[neighbors.indices]
    if bool((labels < 0).any()):
        return None
    supports = voters_by_class(bank, neighbors)
    chosen = over_all(rule, neighbors)
    assert isinstance(chosen, Vote)
    query = retrieved.features.embedding[None].cpu()
    ranking = chosen.decision_scores(query, supports, bank.compared_by)[0]
    shares = chosen.shares(ranking.double())
    order = shares.argsort(descending=True, stable=True).tolist()
    point = turning_point(retrieved, rule)
    winner = supports.classes[int(ranking.argmax())]
    count = len(neighbors.indices)
    sentence = f"All {count} neighbors are of the class {winner}."
    if point is not None:
        strongest = "strongest voter" if point.needed == 1 else f"{point.needed} strongest voters"
        sentence = (
            f"{winner} wins with {point.winners_voters} of {count} neighbors. Without its {strongest} the vote goes to "
            f"{point.successor}."
        )
    present = {class_name(bank, int(label)): int((labels == label).sum()) for label in labels.unique()}
    return {
        "winner": winner,
        "sentence": sentence,
        "classes": [
            {"name": name, "share": float(shares[place]), "voters": present[name]}
            for place, name in ((place, supports.classes[place]) for place in order)
        ],
    }


def _notes(served: ServedBank, search: Asked, found: Neighbors, own: int | None, votes: bool) -> list[str]:
    notes = []
    if own is not None and bool(torch.isin(torch.tensor(own), found.indices)):
        notes.append("The query is in the bank itself, and is like itself; leave it out to see what else is.")
    if votes:
        notes.extend(served.many_voters(len(found.indices)))
    if len(found.indices) < search.k:
        notes.append(f"Only {len(found.indices)} images are left to search among.")
    if served.bank.verified is not None:
        notes.append(f"{served.bank.verified.index.kind}: {served.bank.verified.sentence}.")
    return notes
