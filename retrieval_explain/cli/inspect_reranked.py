"""``retrieval-explain inspect --rerank``: why neighbors come in the order of a rule over cells."""

from collections.abc import Sequence
from pathlib import Path

from fsl_explain.cli.progress import note, say, show_table
from fsl_explain.evaluation import Table
from fsl_explain.report import Page
from retrieval_explain.cli.bank_facts import bank_facts
from retrieval_explain.cli.opened import UNKNOWN, labels_given, neighbors_of, open_bank_for, open_query
from retrieval_explain.cli.remarks import remarks
from retrieval_explain.cli.reranked import expect_local_features
from retrieval_explain.inspection.inspected import Shown
from retrieval_explain.inspection.reranked_page import write_reranked
from retrieval_explain.local.reranking import Reranked, ranked_again


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
    expect_local_features(opened, encoder, checkpoint, pooling, readout)
    asked = open_query(query, network, box, box_format)
    note(f"Searching {len(opened)} images for {asked.words} and ranking the first again by {rerank} …")
    among = labels_given(opened, classes)
    found = ranked_again(neighbors_of(network, asked, opened, first, among, ids, leave_self_out), rerank)
    order = f"the first {len(found.indices)} by {rerank} over cells, {opened.similarity_words}"
    page = Page(
        title=f"Why did these come back for {asked.words}, in the order of {rerank}?",
        lead=f"The first scores {float(found.scores[0]):.4f}; by the similarity of embeddings it was "
        f"#{int(found.first_ranks[0])}.",
        facts={**bank_facts(opened, network), "Order": order},
    )
    shown, explanations = write_reranked(found, page, asked.region, out, explained=explained, gallery=gallery)
    show_table(Table(f"Most similar to {asked.words} by {rerank}", COLUMNS, _rows(found, shown), remarks(shown, ())))
    for explanation in explanations[:1]:
        say(f"\n{explanation.receipt()}\n", lines=True)
    say(f"Page: {out}")


COLUMNS = ("rank", "score", "first rank", "similarity", "class", "path")


def _rows(found: Reranked, shown: Sequence[Shown]) -> tuple[tuple[str, ...], ...]:
    ranks = zip(shown, found.scores.tolist(), found.first_ranks.tolist(), strict=False)
    return tuple(
        (
            *(str(one.rank), f"{score:.6f}", str(before), f"{one.similarity:.6f}"),
            *(one.label or UNKNOWN, one.path or UNKNOWN),
        )
        for one, score, before in ranks
    )
