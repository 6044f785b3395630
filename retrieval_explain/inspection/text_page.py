"""The page of a text query: what came back, and each of the first images with its map and its receipt."""

from dataclasses import dataclass, replace
from pathlib import Path

from fsl_explain.report import Page
from fsl_explain.report.html import render, write_html
from fsl_explain.report.method_view import MethodView, method_view
from fsl_explain.report.numbers import fixed
from retrieval_explain.inspection.inspected import Pair
from retrieval_explain.inspection.page import TEMPLATES, agreement_words, neighbor_view
from retrieval_explain.inspection.shown_paths import common_folder, shown_path
from retrieval_explain.inspection.text_inspection import TextInspection

HOW_TO_READ = (
    "A search by text returns the images whose embeddings are most similar to the text's. A text has no regions, so "
    "each image is explained with the text as its reference: red cells speak for the match, blue ones against it. "
    "Cells, or channels, and a bias add up to the similarity; each receipt shows by how much they miss it. The maps "
    "make no claim about single pixels; between the cells they are interpolated.",
    "Images and texts lie apart in such models, so that every similarity is low and holds much that all images share. "
    "Each map has a scale of its own.",
)


@dataclass(frozen=True)
class MatchView:
    """One image that came back, with its map and receipt."""

    rank: str
    view: MethodView


def write_text_inspection(inspection: TextInspection, page: Page, path: str | Path) -> None:
    """Write the page of a text query; ``page`` holds its title, lead and facts.

    Raises: ``ValueError`` where the path cannot be a file.
    """
    folder = common_folder(inspection.retrieved.bank.paths)
    text = render(
        "text_inspection.html",
        TEMPLATES,
        page=page,
        how_to_read=HOW_TO_READ,
        gallery=[neighbor_view(shown, folder) for shown in inspection.gallery],
        matches=[_match_view(pair, folder) for pair in inspection.matches],
    )
    write_html(text, path)


def _match_view(pair: Pair, folder: str) -> MatchView:
    shown = pair.shown
    label = f", {shown.label}" if shown.label else ""
    view = method_view("exact", pair.explanation, f"image {shown.rank}")
    return MatchView(
        f"#{shown.rank}",
        replace(
            view,
            name=f"#{shown.rank}: similarity {fixed(shown.similarity, 4)}{label}",
            description=f"{shown_path(shown.path, folder)}. {agreement_words(pair)}",
        ),
    )
