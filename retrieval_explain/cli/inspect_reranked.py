"""``retrieval-explain inspect --rerank``: why neighbors come in the order of a rule over cells."""

from pathlib import Path

from fsl_explain.backbones.random_parts import random_words
from fsl_explain.cli.progress import note, say, show_table
from fsl_explain.evaluation import Table
from fsl_explain.report import Page
from retrieval_explain.cli.opened import UNKNOWN, labels_given, open_bank_for, open_query
from retrieval_explain.cli.reranked import ranked_again
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.inspection.reranked_page import write_reranked
from retrieval_explain.local.reranking import Reranked


def run(
    query: Path,
    bank: Path,
    out: Path,
    rerank: str,
    first: int | None,
    explained: int,
    gallery: int,
    box: tuple[float, float, float, float] | None,
    box_format: str,
    classes: tuple[str, ...],
    ids: tuple[int, ...],
    leave_self_out: bool,
    index: str | None,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
) -> None:
    """Search, rank again, explain the first neighbors, print them with their receipts and write the page."""
    opened, network = open_bank_for(bank, encoder, checkpoint, pooling, readout, scales, index, first)
    asked = open_query(query, network, box, box_format)
    note(f"Searching {len(opened)} images for {asked.words} and ranking the first again by {rerank} …")
    found = ranked_again(
        network, opened, asked, rerank, first, None, labels_given(opened, classes), ids, leave_self_out
    )
    page = Page(
        title=f"Why did these come back for {asked.words}, in the order of {rerank}?",
        lead=f"The first scores {float(found.scores[0]):.4f}; by the similarity of embeddings it was "
        f"#{int(found.first_ranks[0])}.",
        facts=_facts(found, rerank),
    )
    explanations = write_reranked(found, page, asked.region, out, explained=explained, gallery=gallery)
    show_table(Table(f"Most similar to {asked.words} by {rerank}", COLUMNS, _rows(found, gallery), ()))
    for explanation in explanations[:1]:
        say(f"\n{explanation.receipt()}\n", lines=True)
    say(f"Page: {out}")


COLUMNS = ("rank", "score", "first rank", "similarity", "class", "path")


def _rows(found: Reranked, gallery: int) -> tuple[tuple[str, ...], ...]:
    bank = found.retrieved.bank
    columns = (found.scores, found.first_ranks, found.similarities, found.labels, found.indices)
    neighbors = zip(*(column[:gallery].tolist() for column in columns), strict=True)
    return tuple(
        (
            *(str(place + 1), f"{score:.6f}", str(before), f"{similarity:.6f}"),
            *(class_name(bank, label) if label >= 0 else UNKNOWN, bank.paths[row] or UNKNOWN),
        )
        for place, (score, before, similarity, label, row) in enumerate(neighbors)
    )


def _facts(found: Reranked, rerank: str) -> dict[str, str]:
    bank, encoder = found.retrieved.bank, found.retrieved.encoder
    verified = bank.verified
    return {
        "Bank": f"{len(bank)} images of {len(bank.labels[bank.labels >= 0].unique()) or 'no'} classes",
        "Encoder": f"{bank.encoder or encoder.description}. {random_words(encoder.random)}".removesuffix(". "),
        "Search": "exact" if verified is None else f"{verified.index.kind}: {verified.sentence}",
        "Order": f"the first {len(found.retrieved.neighbors.indices)} by {rerank} over cells, {bank.similarity_words}",
    }
