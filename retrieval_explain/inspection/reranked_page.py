"""The page of neighbors in the order of a rule over cells: the first rather than the second, and each of the first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import PIL.Image

from episodes import read_image
from episodes.errors import Mistake
from fsl_explain.explainers import Explanation
from fsl_explain.report import Page
from fsl_explain.report.heatmap import photograph
from fsl_explain.report.html import render, write_html
from fsl_explain.report.method_view import method_view
from fsl_explain.report.numbers import fixed
from fsl_explain.report.standing_pair import standing_pair
from fsl_explain.report.support_view import linked_picture
from retrieval_explain.inspection.expected_view import PairView, neighbor_map
from retrieval_explain.inspection.inspected import Shown, shown_neighbors
from retrieval_explain.inspection.page import QUERY_WIDTH, TEMPLATES, NeighborView, changed_notes, neighbor_view
from retrieval_explain.inspection.shown_paths import common_folder, shown_path
from retrieval_explain.local.explained_ranks import ChangedImage, explain_reranked
from retrieval_explain.local.reranking import Reranked

HOW_TO_READ = (
    "The first neighbors by the similarity of whole embeddings were put in another order by a rule that compares the "
    "cells of the last activation maps pair by pair. Which pairs count is frozen; the cells of the query, and likewise "
    "those of the neighbor, then add up to the score: red cells speak for the match, blue ones against it. Each "
    "receipt shows by how much they miss it. The maps make no claim about single pixels; between the cells they are "
    "interpolated.",
)


def write_reranked(
    found: Reranked,
    page: Page,
    query: PIL.Image.Image,
    path: str | Path,
    *,
    explained: int = 5,
    gallery: int = 20,
    read: Callable[[str], PIL.Image.Image] = read_image,
) -> tuple[tuple[Shown, ...], tuple[Explanation, ...]]:
    """Write the page of neighbors that were ranked again; return those shown, and the explanations of the first ones.

    ``page`` holds its title, lead and facts, ``query`` the image as it was given; ``read`` gives the photograph of a
    path. A neighbor keeps its place without maps where its image cannot be read, or has changed since the bank
    embedded it; its ``fault`` says which, and a note of the page names those that have changed.

    Raises: ``ValueError`` for fewer than one neighbor to show, or a path that cannot be a file; otherwise as
    ``explain_reranked``.
    """
    if explained < 1 or gallery < 1:
        raise Mistake(f"expected at least one neighbor to show, but got {min(explained, gallery)}.")
    bank = found.retrieved.bank
    shown = shown_neighbors(bank, found.neighbors, gallery, read)
    folder = common_folder(bank.paths)
    shown, explained_by = _explained(found, shown, explained, read)
    with_both = [*explained_by][:2] == [1, 2]
    lead = explain_reranked(found, against=1, read=read) if with_both else None
    text = render(
        "inspection.html",
        TEMPLATES,
        page=replace(page, notes=(*page.notes, *changed_notes(shown))),
        how_to_read=HOW_TO_READ,
        query=photograph(query, "query", QUERY_WIDTH),
        gallery=[_in_gallery(found, one, folder) for one in shown],
        margin=None if lead is None else _lead(found, lead, shown, folder),
        pairs=[_pair(found, shown[rank - 1], of, folder) for rank, of in explained_by.items()],
        vote=None,
        expected=None,
    )
    write_html(text, path)
    return shown, tuple(explained_by.values())


def _explained(
    found: Reranked, shown: Sequence[Shown], count: int, read: Callable[[str], PIL.Image.Image]
) -> tuple[tuple[Shown, ...], dict[int, Explanation]]:
    """Explain the first neighbors, by their ranks; one whose image has changed has a fault instead."""
    told, explanations = list(shown), dict[int, Explanation]()
    for one in shown[:count]:
        if one.photograph is None:
            continue
        try:
            explanations[one.rank] = explain_reranked(found, target=one.rank - 1, read=read)
        except ChangedImage as error:
            told[one.rank - 1] = replace(one, fault=str(error))
    return tuple(told), explanations


def _in_gallery(found: Reranked, shown: Shown, folder: str) -> NeighborView:
    view, place = neighbor_view(shown, folder), shown.rank - 1
    score, before = fixed(float(found.scores[place]), 4), int(found.first_ranks[place])
    return replace(view, title=f"#{shown.rank}, was #{before} · {score}")


def _lead(found: Reranked, explanation: Explanation, shown: Sequence[Shown], folder: str) -> PairView:
    before = found.first_ranks.tolist()
    return PairView(
        rank="#1 rather than #2",
        title=f"Why #1 rather than #2: a lead of {fixed(float(explanation.score), 4)}",
        paths=tuple(f"#{one.rank} {shown_path(one.path, folder)}" for one in shown[:2]),
        note=f"Red cells of the query speak for the first, blue ones for the second. Before they were #{before[0]} and "
        f"#{before[1]}.",
        query=method_view("contrast", explanation),
        neighbors=tuple(neighbor_map(explanation, place) for place in range(2)),
        linked=linked_picture(explanation, "query"),
        standing=standing_pair(explanation, [(place, 0, f"neighbor {place + 1}") for place in range(2)]),
    )


def _pair(found: Reranked, shown: Shown, explanation: Explanation, folder: str) -> PairView:
    place = shown.rank - 1
    score, similarity = fixed(float(found.scores[place]), 4), fixed(float(found.similarities[place]), 4)
    return PairView(
        rank=f"#{shown.rank}",
        title=f"#{shown.rank}: score {score}{f', {shown.label}' if shown.label else ''}",
        paths=(shown_path(shown.path, folder),),
        note=f"By the similarity of the embeddings, {similarity}, it was #{int(found.first_ranks[place])}.",
        query=method_view("exact", explanation),
        neighbors=(neighbor_map(explanation, 0),),
        linked=linked_picture(explanation, "query"),
        standing=standing_pair(explanation, [(0, 0, f"neighbor {shown.rank}")]),
    )
