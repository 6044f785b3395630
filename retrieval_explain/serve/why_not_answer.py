"""Why an image or a class that was expected does not come first, and what removing regions of the query changes."""

from collections.abc import Sequence
from typing import Any

import torch

from episodes.errors import Mistake
from fsl_explain.classifiers import Vote
from fsl_explain.explainers.analysis.counterfactual import edited_image
from fsl_explain.explainers.compared import visible
from fsl_explain.serve.pictures import as_data_url
from fsl_explain.serve.why import Shown, why
from retrieval_explain.decisions.explained_neighbors import Retrieved, retrieve
from retrieval_explain.inspection.expected import Expectation, Placed, why_not_first
from retrieval_explain.inspection.rank_change import RankChange
from retrieval_explain.ranking.exact_ranks import ranks_of
from retrieval_explain.ranking.neighbors import similarities_to
from retrieval_explain.serve.calls import why_not_call
from retrieval_explain.serve.queries import Asked, Queries
from retrieval_explain.serve.search_answer import neighbors_of, vote_of
from retrieval_explain.serve.served_bank import ServedBank
from retrieval_explain.serve.why_answer import seen_address

BRUSH = (28, 28)
FINEST = 112  # cells of a brush's side
MOST_WATCHED = 50


def why_not_answer(served: ServedBank, queries: Queries, search: Asked, expected: str, rule: Vote) -> dict[str, Any]:
    """Return where the expected image stands, what holds it back, and the fewest cells that would bring it up."""
    kind, _, name = expected.partition(":")
    if kind not in ("id", "class") or not name:
        raise Mistake(f"expected id:NUMBER or class:NAME of the bank, but got {expected!r:.80}.")
    retrieved = queries.retrieved(served, search)
    found = why_not_first(retrieved, expected, rule=rule)
    call = why_not_call(served, search, expected)
    return {
        "sentences": [sentence.replace(f"{served.folder}/", "") for sentence in found.sentences],
        "expected": _placed(served, found.expected),
        "first": _placed(served, found.first),
        "margin": found.margin,
        "among": found.among,
        "why": _contrast(served, search, found, call),
        "changes": [_change(change) for change in found.changes],
        "call": call,
    }


def removed_answer(
    served: ServedBank,
    queries: Queries,
    search: Asked,
    grid: tuple[int, int],
    cells: Sequence[tuple[int, int]],
    watch: Sequence[int],
    rule: Vote,
) -> dict[str, Any]:
    """Search again with squares of the query at 0, the color that the normalization makes of the mean."""
    rows, columns = grid
    if not (1 <= rows <= FINEST and 1 <= columns <= FINEST):
        raise Mistake(f"expected a grid of 1 to {FINEST} cells a side, but got {rows}×{columns}.")
    if any(not (0 <= row < rows and 0 <= column < columns) for row, column in cells):
        raise Mistake(f"expected cells of the grid {rows}×{columns}, but one lies outside it.")
    if len(watch) > MOST_WATCHED:
        raise Mistake(f"expected at most {MOST_WATCHED} images to watch, but got {len(watch)}.")
    before = queries.retrieved(served, search)
    numbers = torch.tensor([row * columns + column for row, column in cells], dtype=torch.long)
    image = edited_image(before.image, grid, numbers.to(before.image.device))
    after = _searched_again(served, before, image)
    vote = vote_of(after, rule)
    own = queries.own_row(served, search)
    neighbors = neighbors_of(served, after.neighbors, own, "" if vote is None else vote["winner"])
    shown, watched = after.neighbors.indices.tolist(), [served.row_of(number) for number in watch]
    ranks_before = _ranks(before, [*shown, *watched])
    for one, rank in zip(neighbors, ranks_before, strict=False):
        one["rank_before"] = rank
    return {
        "neighbors": neighbors,
        "watched": _watched(served, (before, after), watched, ranks_before[len(shown) :]),
        "picture": as_data_url(visible(served.encoder, image.cpu())),
        "sentence": _sentence(before, after, neighbors, len(set(cells)), rows * columns),
        "vote": vote,
    }


def _searched_again(served: ServedBank, before: Retrieved, image: torch.Tensor) -> Retrieved:
    left_out = None if before.allowed is None else (~before.allowed).nonzero()[:, 0]
    return retrieve(served.encoder, image, served.bank, k=len(before.neighbors.indices), without=left_out)


def _sentence(
    before: Retrieved, after: Retrieved, neighbors: Sequence[dict[str, Any]], removed: int, total: int
) -> str:
    share = f"Without {100 * removed / total:.0f} % of the query"
    same = int(before.neighbors.indices[0]) == int(after.neighbors.indices[0])
    if same:
        return f"{share} the same image still comes first."
    first = neighbors[0]
    return f"{share} {first['path'] or first['id']} comes first, which was at rank {first['rank_before']}."


def _ranks(retrieved: Retrieved, rows: Sequence[int]) -> list[int]:
    if not rows:
        return []
    bank, query = retrieved.bank, retrieved.features.embedding.cpu()
    return ranks_of(query, bank.rows, bank.similarity, rows, retrieved.allowed)


def _watched(
    served: ServedBank, edits: tuple[Retrieved, Retrieved], rows: Sequence[int], ranks_before: Sequence[int]
) -> list[dict[str, Any]]:
    """Return where the watched rows stood and stand."""
    before, after = (_similarities(one, rows) for one in edits)
    numbers = zip(rows, _ranks(edits[1], rows), ranks_before, after, before, strict=True)
    names = ("rank", "rank_before", "similarity", "similarity_before")
    return [{"id": int(served.bank.ids[row]), **dict(zip(names, found, strict=True))} for row, *found in numbers]


def _similarities(retrieved: Retrieved, rows: Sequence[int]) -> list[float]:
    if not rows:
        return []
    query, bank = retrieved.features.embedding.cpu()[None], retrieved.bank
    found: list[float] = similarities_to(query, bank.rows, torch.tensor([list(rows)]), bank.similarity)[0].tolist()
    return found


def _placed(served: ServedBank, placed: Placed) -> dict[str, Any]:
    return {**served.brief(placed.row), "rank": placed.rank, "similarity": placed.similarity}


def _contrast(served: ServedBank, search: Asked, found: Expectation, call: str) -> dict[str, Any] | None:
    if found.contrast is None:
        return None
    with_maps = found.contrast.support_images is not None
    places = [found.first, found.expected] if with_maps else []
    supports = {
        (place, 0): Shown(
            title=f"#{one.rank} {served.path_of(one.row)}",
            picture=f"/api/banks/{served.number}/images/{one.id}/seen",
            facts={"id": one.id, "label": served.label_of(one.row)},
        )
        for place, one in enumerate(places)
    }
    title = f"What {found.first.name} has over {found.expected.name}"
    query = Shown("the query", seen_address(served, search))
    return why(found.contrast, query, supports, call=call, title=title)


def _change(change: RankChange) -> dict[str, Any]:
    return {
        "goal": change.goal,
        "found": change.found,
        "confirmed": change.confirmed,
        "minimal": change.minimal,
        "sentence": str(change),
        "grid": list(change.mask.shape),
        "cells": [list(cell) for cell in change.cells],
        "rank_before": change.rank_before,
        "rank_at_features": change.rank_at_features,
        "rank_at_pixels": change.rank_at_pixels,
        "picture": None if change.image_after is None else as_data_url(change.image_after),
    }
