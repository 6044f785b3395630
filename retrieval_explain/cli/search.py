"""``retrieval-explain search``."""

from pathlib import Path
from typing import Any

from fsl_explain.cli.progress import show_table
from fsl_explain.evaluation import Table
from retrieval_explain.bank_address import Address
from retrieval_explain.cli.opened import (
    UNKNOWN,
    labels_given,
    neighbors_of,
    open_bank_for,
    open_query,
)
from retrieval_explain.cli.reranked import COLUMNS as AGAIN
from retrieval_explain.cli.reranked import expect_local_features, with_both_ranks
from retrieval_explain.cli.written_neighbors import write_records
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.decisions.text_queries import retrieve_text
from retrieval_explain.local.reranking import ranked_again
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors

COLUMNS: tuple[str, ...] = ("rank", "similarity", "class", "id", "path")


def run(
    query: Path | None,
    text: tuple[str, ...],
    bank: tuple[Path | Address, ...],
    k: int,
    box: tuple[float, float, float, float] | None,
    box_format: str,
    classes: tuple[str, ...],
    ids: tuple[int, ...],
    leave_self_out: bool,
    index: str | None,
    rerank: str | None,
    first: int | None,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    out: Path | None,
) -> None:
    """Search, print the neighbors, and write them where asked to."""
    opened, network = open_bank_for(
        bank, encoder, checkpoint, pooling, readout, scales, index, k if rerank is None else first
    )
    if rerank is not None:
        expect_local_features(opened, encoder, checkpoint, pooling, readout)
    among, again = labels_given(opened, classes), None
    if query is None:
        by_text = retrieve_text(network, text, opened, k=k, classes=among, ids=ids or None)
        words, found = f"“{by_text.text}”", by_text.neighbors
        facts: dict[str, Any] = {"text": text[0] if len(text) == 1 else text}
    else:
        asked = open_query(query, network, box, box_format)
        words, facts = asked.words, {"query": str(query), "box": asked.box}
        wanted = k if rerank is None else first
        retrieved = neighbors_of(network, asked, opened, wanted, among, ids, leave_self_out)
        found = retrieved.neighbors
        if rerank is not None:
            again = ranked_again(retrieved, rerank, k)
            found, facts = again.neighbors, {**facts, "rerank": rerank}
    records = _records(opened, found)
    columns = COLUMNS
    if again is not None:
        records, columns, words = with_both_ranks(again, records), AGAIN, f"{words} by {rerank}"
    rows = tuple(tuple(_text(record[name]) for name in columns) for record in records)
    show_table(Table(f"Most similar to {words}", columns, rows, ()))
    if out is not None:
        write_records(facts, records, out)


def _records(bank: MemoryBank, found: Neighbors) -> list[dict[str, Any]]:
    """Return one record for each neighbor; the class and the path are None where it has none."""
    labels, similarities = bank.labels[found.indices].tolist(), found.similarities.tolist()
    return [
        {
            "rank": place + 1,
            "similarity": similarities[place],
            "class": class_name(bank, labels[place]) if labels[place] >= 0 else None,
            "id": int(bank.ids[row]),
            "path": bank.paths[row] or None,
        }
        for place, row in enumerate(found.indices.tolist())
    ]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return UNKNOWN if value is None else str(value)
