"""``retrieval-explain search`` and ``inspect`` by a text in place of an image."""

from pathlib import Path

from fsl_explain.cli.progress import note, say, show_table
from fsl_explain.evaluation import Table
from fsl_explain.report import Page
from retrieval_explain.bank_address import Address
from retrieval_explain.cli.bank_facts import bank_facts
from retrieval_explain.cli.opened import UNKNOWN, labels_given, open_bank_for
from retrieval_explain.cli.remarks import remarks
from retrieval_explain.decisions.text_queries import retrieve_text
from retrieval_explain.inspection.text_inspection import TextInspection, inspect_text
from retrieval_explain.inspection.text_page import write_text_inspection
from retrieval_explain.store.row_filter import allowed_rows


def run(
    text: tuple[str, ...],
    bank: Path | Address,
    out: Path,
    explained: int,
    gallery: int,
    classes: tuple[str, ...],
    ids: tuple[int, ...],
    index: str | None,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    detail: int,
    biases: str,
) -> None:
    """Search, explain the first images, print them with their receipts and write the page."""
    wanted = max(explained, gallery)
    opened, network = open_bank_for(bank, encoder, checkpoint, pooling, readout, scales, index, wanted, detail, biases)
    note(f"Searching {len(opened)} images for “{' | '.join(text)}” …")
    among = labels_given(opened, classes)
    allowed = allowed_rows(opened.entries, len(opened), among, ids or None)
    left = len(opened) if allowed is None else int(allowed.sum())
    retrieved = retrieve_text(network, text, opened, k=min(wanted, left), classes=among, ids=ids or None)
    found = inspect_text(retrieved, explained=explained, gallery=gallery)
    first = found.gallery[0]
    label = f", {first.label}" if first.label else ""
    page = Page(
        title=f"Why did these come back for “{retrieved.text}”?",
        lead=f"The most similar image has similarity {first.similarity:.4f}{label}.",
        facts=bank_facts(opened, network),
    )
    write_text_inspection(found, page, out)
    _print(found)
    say(f"Page: {out}")


def _print(found: TextInspection) -> None:
    columns = ("rank", "similarity", "class", "path", "in cells", "bias", "residual")
    receipts = {}
    for pair in found.matches:
        receipt = pair.explanation.receipt()
        receipts[pair.shown.rank] = (f"{receipt.supports:+.4f}", f"{receipt.bias:+.4f}", f"{receipt.residual:.1e}")
    rows = tuple(
        (
            *(str(one.rank), f"{one.similarity:.6f}", one.label or UNKNOWN, one.path or UNKNOWN),
            *receipts.get(one.rank, (UNKNOWN,) * 3),
        )
        for one in found.gallery
    )
    show_table(Table(f"Most similar to “{found.retrieved.text}”", columns, rows, remarks(found.gallery, found.matches)))
