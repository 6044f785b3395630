"""Banks that are open, written where another is kept."""

from retrieval_explain.ranking.neighbors import Rows, blocks
from retrieval_explain.store.changed_in_memory import texts_of
from retrieval_explain.store.entries import Entries
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.manifest import LABELS, NAMES, NUMBERS
from retrieval_explain.store.stores import Store


def copy_to(store: Store, settings: Settings, rows: Rows, entries: Entries) -> None:
    """Write rows and what is known of them, block by block. Raises: as the store's writer."""
    with store.writer(settings, False, rows.shape[0]) as writer:
        for start, block in blocks(rows):
            part = slice(start, start + len(block))
            writer.add(block.numpy(), entries.ids[part].numpy(), *texts_of(entries, part))
        writer.notes = {LABELS: NAMES if entries.classes else NUMBERS}
