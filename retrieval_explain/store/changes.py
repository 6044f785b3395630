"""Changes of a bank on disk: each makes a new version and leaves the old one whole until the switch.

Notes are of one version: ``append`` and ``delete`` drop them, for what was measured holds no longer; only whether
the labels are names or numbers stays.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Shaped

from episodes.errors import UnknownName
from retrieval_explain.store.bank_rows import (
    LABELS,
    NAMES,
    SeenIds,
    Texts,
    check_embeddings,
    check_labels,
    rows_table,
    stored_embeddings,
    whole_ids,
    write_rows,
)
from retrieval_explain.store.embeddings_file import EmbeddingsFile
from retrieval_explain.store.files import StoredBank, open_bank
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.versions import (
    EMBEDDINGS,
    ROWS,
    Manifest,
    bank_lock,
    check_free_space,
    full_disk_is_one_sentence,
    publish,
    read_pointer,
    start_writing,
)
from retrieval_explain.store.writer import manifest_of


def append(
    directory: Path,
    embeddings: Shaped[np.ndarray, "*shape"],
    ids: Sequence[int] | Shaped[np.ndarray, "row"] | None = None,
    labels: Texts = None,
    paths: Texts = None,
    encoder: str | None = None,
) -> None:
    """Add rows behind those of a bank; ids that are not given go on from its largest.

    Raises: ``ValueError`` for another ``encoder`` or dimension, zero (cosine) or non-finite rows or an id that is
    taken, ``OSError`` when the disk is full, ``BlockingIOError`` when another process writes; the bank stays as it was.
    """
    read_pointer(directory)
    with bank_lock(directory):
        bank = open_bank(directory)
        bank.expect(encoder=encoder)
        seen = SeenIds()
        seen.add(bank.ids)
        stored = stored_embeddings(embeddings, bank.manifest.channels, bank.manifest.dtype)
        numbers = np.arange(seen.next_id, seen.next_id + len(stored)) if ids is None else whole_ids(ids)
        table = rows_table(len(stored), numbers, labels, paths)
        check_labels(table, bank.manifest.notes.get(LABELS, NAMES))
        check_embeddings(stored, bank.manifest.similarity, table)
        seen.add(numbers)
        _rewrite(bank, np.ones(len(bank), dtype=bool), stored, table)


def delete(directory: Path, ids: Sequence[int] | Shaped[np.ndarray, "row"]) -> None:
    """Take the rows with these ids out of a bank; the others keep their order and their ids.

    Raises: ``LookupError`` naming the first id that is not there, ``OSError`` when the disk is full,
    ``BlockingIOError`` when another process writes; the bank stays as it was.
    """
    read_pointer(directory)
    with bank_lock(directory):
        bank = open_bank(directory)
        numbers = whole_ids(ids)
        missing = numbers[~np.isin(numbers, bank.ids)]
        if len(missing):
            raise UnknownName(
                f"the bank {directory} has no image with id {missing[0]} to delete; look its ids up in {ROWS}."
            )
        nothing = np.empty((0, bank.manifest.channels), bank.manifest.dtype)
        _rewrite(bank, ~np.isin(bank.ids, numbers), nothing, bank.table.slice(0, 0))


def write_notes(directory: Path, notes: Mapping[str, Any]) -> None:
    """Record measured facts, JSON values by name, in the manifest of a bank; an older note of a name is replaced."""
    read_pointer(directory)
    with bank_lock(directory):
        bank = open_bank(directory)
        with full_disk_is_one_sentence(directory):
            folder = start_writing(directory)
            for name in (EMBEDDINGS, ROWS):
                _link(directory / bank.version / name, folder / name)
            publish(directory, folder, bank.manifest.model_copy(update={"notes": bank.manifest.notes | dict(notes)}))


def _rewrite(
    bank: StoredBank, kept: Bool[np.ndarray, "row"], added: Float[np.ndarray, "new channel"], table: pa.Table
) -> None:
    """Publish the kept rows, then the added ones, as the next version; every kept row is checked on the way."""
    manifest = bank.manifest
    rows = int(kept.sum()) + len(added)
    row_bytes = manifest.channels * np.dtype(manifest.dtype).itemsize
    check_free_space(bank.directory, rows * row_bytes + manifest.rows_bytes + table.nbytes)
    with full_disk_is_one_sentence(bank.directory):
        folder = start_writing(bank.directory)
        try:
            publish(bank.directory, folder, _write_files(folder, bank, kept, added, table))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _write_files(
    folder: Path,
    bank: StoredBank,
    kept: Bool[np.ndarray, "row"],
    added: Float[np.ndarray, "new channel"],
    table: pa.Table,
) -> Manifest:
    settings = Settings(*(getattr(bank.manifest, name) for name in Settings._fields))
    lasting = {LABELS: bank.manifest.notes[LABELS]} if LABELS in bank.manifest.notes else {}
    with EmbeddingsFile(folder / EMBEDDINGS, settings.channels, settings.dtype) as file:
        for block in _kept_blocks(bank, kept):
            file.write(block)
        file.write(added)
        write_rows(folder / ROWS, [bank.table.filter(pa.array(kept)), table])
        return manifest_of(settings, file, folder / ROWS, lasting)


def _kept_blocks(bank: StoredBank, kept: Bool[np.ndarray, "row"]) -> Iterator[Float[np.ndarray, "_ channel"]]:
    for number in range(bank.blocks):
        block = bank.stored_block(number)
        start = number * bank.manifest.block_rows
        yield block[kept[start : start + len(block)]]


def _link(source: Path, target: Path) -> None:
    """Give an unchanged file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
