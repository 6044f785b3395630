"""``retrieval-explain import``."""

from pathlib import Path

from fsl_explain.cli.progress import progress_bars, say
from retrieval_explain.bank_address import Address
from retrieval_explain.imports.importing import import_embeddings


def run(
    file: Path,
    bank: Path | Address,
    images: Path | None,
    layout: str,
    key: str | None,
    similarity: str,
    dtype: str,
    made_by: str,
) -> None:
    """Import the embeddings and say what the bank holds."""
    with progress_bars() as report:
        made = import_embeddings(file, bank, None, images, layout, key, similarity, dtype, made_by, report)
    rows, channels = made.rows.shape
    words = f"Bank: {bank}, {rows} embeddings of {len(made.classes) or 'no'} classes, {channels} channels."
    say(words)
