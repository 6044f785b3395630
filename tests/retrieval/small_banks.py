"""A small bank of known rows, the three ways to change it, and what it then holds."""

from contextlib import suppress

import numpy as np

from retrieval_explain import bank_writer, block_hashes
from retrieval_explain.bank_changes import append, delete
from retrieval_explain.bank_files import open_bank
from retrieval_explain.bank_writer import BankWriter

OLD = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
NEW = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)


def eight_rows_a_block(monkeypatch):
    """Make blocks of eight float32 rows of four channels."""
    monkeypatch.setattr(block_hashes, "BLOCK_BYTES", 128)


def small_blocks_and_pieces(monkeypatch):
    """Make blocks of eight such rows, and keep pieces of five."""
    eight_rows_a_block(monkeypatch)
    monkeypatch.setattr(bank_writer, "PIECE_BYTES", 5 * 16)


def old_bank(tmp_path):
    """Write the old bank into a folder of its own; return the folder."""
    directory = tmp_path / "bank"
    write_old(directory)
    return directory


def rebuild(directory, resume=False):
    with BankWriter(directory, 4, resume=resume) as writer:
        for start in range(writer.rows, 20, 5):
            writer.add(NEW[start : start + 5], ids=range(100 + start, 105 + start))


CHANGES = {
    "build": (rebuild, NEW, range(100, 120)),
    "append": (lambda directory: append(directory, NEW), np.concatenate([OLD, NEW]), range(50)),
    "delete": (lambda directory: delete(directory, range(10)), OLD[10:], range(10, 30)),
}


def holds(directory, rows, ids):
    found = open_bank(directory)
    return np.array_equal(found.rows(0, len(found)), rows) and np.array_equal(found.ids, list(ids))


def write_old(directory):
    with BankWriter(directory, 4) as writer:
        writer.add(OLD, ids=range(30))


def interrupted(directory, **options):
    with suppress(KeyboardInterrupt), BankWriter(directory, 4, **options) as writer:
        writer.add(NEW[:3])
        writer.add(NEW[3:10])
        writer.add(NEW[10:11])
        raise KeyboardInterrupt
