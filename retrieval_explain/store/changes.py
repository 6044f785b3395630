"""Changes of a bank on disk: each makes a new version and leaves the old one whole until the switch.

Notes are of one version: a change of the rows drops them, for what was measured holds no longer; only whether
the labels are names or numbers stays.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from retrieval_explain.store.bank_rows import Texts, write_rows
from retrieval_explain.store.embeddings_file import EmbeddingsFile
from retrieval_explain.store.encoder_fingerprint import is_same_encoder
from retrieval_explain.store.files import StoredBank, another, open_bank
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.manifest import LABELS, NAMES, NUMBERS, Manifest
from retrieval_explain.store.row_changes import Change, Existing, appended, deleted
from retrieval_explain.store.versions import (
    EMBEDDINGS,
    ROWS,
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

    def change(bank: Existing) -> Change:
        if encoder is not None and not is_same_encoder(encoder, bank.encoder):
            raise another(directory, "encoder", bank.encoder, encoder)
        return appended(bank, embeddings, ids, labels, paths)

    change_on_disk(directory, change)


def delete(directory: Path, ids: Sequence[int] | Shaped[np.ndarray, "row"]) -> None:
    """Take the rows with these ids out of a bank; the others keep their order and their ids.

    Raises: ``LookupError`` naming the first id that is not there, ``OSError`` when the disk is full,
    ``BlockingIOError`` when another process writes; the bank stays as it was.
    """
    change_on_disk(directory, lambda bank: deleted(bank, ids))


def change_on_disk(directory: Path, change: Callable[[Existing], Change]) -> None:
    """Make one change of a bank its next version. What ``change`` is given cannot be changed by others meanwhile.

    Raises: what ``change`` raises; ``OSError`` when the disk is full, ``BlockingIOError`` when another process writes;
    the bank stays as it was.
    """
    read_pointer(directory)
    with bank_lock(directory):
        bank = open_bank(directory)
        made = change(existing(bank))
        if not made.is_nothing:
            _rewrite(bank, made)


def existing(bank: StoredBank) -> Existing:
    """Return what a change has to know of a bank on disk."""
    made = bank.manifest
    return Existing(
        bank.table,
        made.channels,
        made.dtype,
        made.similarity,
        made.encoder,
        made.notes.get(LABELS, NAMES) == NUMBERS,
        str(bank.directory),
        made.preprocessing,
    )


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


def _rewrite(bank: StoredBank, change: Change) -> None:
    """Publish what is left of the rows, then the added ones, as the next version; every kept row is checked."""
    manifest = bank.manifest
    row_bytes = manifest.channels * np.dtype(manifest.dtype).itemsize
    check_free_space(bank.directory, len(change.table) * row_bytes + manifest.rows_bytes + change.table.nbytes)
    with full_disk_is_one_sentence(bank.directory):
        folder = start_writing(bank.directory)
        try:
            publish(bank.directory, folder, _write_files(folder, bank, change))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _write_files(folder: Path, bank: StoredBank, change: Change) -> Manifest:
    settings = Settings(*(getattr(bank.manifest, name) for name in Settings._fields))
    lasting = {LABELS: bank.manifest.notes[LABELS]} if LABELS in bank.manifest.notes else {}
    with EmbeddingsFile(folder / EMBEDDINGS, settings.channels, settings.dtype) as file:
        for number in range(bank.blocks):
            file.write(change.of_block(number * bank.manifest.block_rows, bank.stored_block(number)))
        file.write(change.added)
        write_rows(folder / ROWS, [change.table])
        return manifest_of(settings, file, folder / ROWS, lasting)


def _link(source: Path, target: Path) -> None:
    """Give an unchanged file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
