"""Ids, labels and paths of a stored bank: what they are, and that nothing is read before it is asked for."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval_explain import MemoryBank
from retrieval_explain.store import files as bank_files
from retrieval_explain.store import text_sizes
from retrieval_explain.store.changes import append, delete
from retrieval_explain.store.entries import StoredEntries
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

NAMES = st.none() | st.sampled_from(["auk", "tern", "Gull", "zoë", "gull", ""])


def stored(directory, labels, notes=None, pieces=3):
    rows = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    with BankWriter(directory, 3) as writer:
        for part in np.array_split(np.arange(len(labels)), pieces):
            names = [labels[i] for i in part]
            writer.add(rows[part], 7 * part + 1, names, [None if i % 4 == 0 else f"{i}.png" for i in part])
            writer.flush()
        writer.notes = notes or {}
    return StoredEntries(open_bank(directory))


@given(st.lists(NAMES, max_size=12))
@example(["tern", "auk", "gull", None])
def test_labels_are_indices_into_the_sorted_names(tmp_path_factory, labels):
    entries = stored(tmp_path_factory.mktemp("bank"), labels)
    assert entries.classes == tuple(sorted({label for label in labels if label is not None}))
    found = [None if label < 0 else entries.classes[label] for label in entries.labels.tolist()]
    assert found == labels
    assert entries.labels.dtype == torch.int64
    assert entries.ids.tolist() == [7 * i + 1 for i in range(len(labels))]
    assert list(entries.paths) == ["" if i % 4 == 0 else f"{i}.png" for i in range(len(labels))]


def test_numbers_stay_numbers_through_changes(tmp_path):
    entries = stored(tmp_path, ["40", None, "-3", "7"], {"labels": "numbers", "recall": 0.9})
    assert (entries.labels.tolist(), entries.classes) == ([40, -1, -3, 7], ())
    append(tmp_path, np.ones((1, 3)), labels=["12"])
    delete(tmp_path, [1])
    bank = MemoryBank.load(tmp_path)
    assert (bank.labels.tolist(), bank.classes) == ([-1, -3, 7, 12], ())
    assert open_bank(tmp_path).manifest.notes == {"labels": "numbers"}
    with pytest.raises(ValueError, match="labels that are whole numbers, as those of the bank are, but got 'gull'"):
        append(tmp_path, np.ones((2, 3)), labels=["3", "gull"])


def test_paths_are_read_one_by_one_or_in_parts(tmp_path):
    paths = stored(tmp_path, [None] * 9).paths
    assert (paths[3], paths[-1], paths[0], len(paths)) == ("3.png", "", "", 9)
    assert paths[2:5] == ["2.png", "3.png", ""]
    with pytest.raises(IndexError, match="out of bounds"):
        paths[9]


def test_loading_reads_no_row_and_a_search_reads_no_path(tmp_path, monkeypatch):
    bank = MemoryBank.from_embeddings(torch.eye(5), labels=list("abcab"), paths=[f"{i}.png" for i in range(5)])
    bank.save(tmp_path / "bank")
    read, table = [], pq.read_table

    def watched(source, columns=None, **options):
        read.extend(columns or ["all"])
        return table(source, columns=columns, **options)

    checked = []
    check = bank_files._check
    monkeypatch.setattr(text_sizes.pq, "read_table", watched)
    monkeypatch.setattr(bank_files, "_check", lambda path, *rest: (checked.append(Path(path).name), check(path, *rest)))
    loaded = MemoryBank.load(tmp_path / "bank")
    assert (read, checked) == ([], ["manifest.json", "embeddings.safetensors"])
    loaded.search(torch.eye(5), 2)
    loaded.search(torch.eye(5), 2, classes=["a"])
    assert read == ["label"]
    loaded.search(torch.eye(5), 2, ids=[0, 1])
    assert (loaded.paths[2], loaded.paths[4]) == ("2.png", "4.png")
    assert read == ["label", "id", "path"]
    assert checked.count("rows.parquet") == 1


def test_a_column_of_rows_that_were_tampered_with_is_not_read(tmp_path):
    MemoryBank.from_embeddings(torch.eye(3), labels=list("abc")).save(tmp_path)
    (file,) = tmp_path.glob("version-*/rows.parquet")
    table = pq.read_table(file)
    size = file.stat().st_size
    pq.write_table(table.set_column(1, "label", pa.array(list("bca"))), file, compression="zstd")
    file.write_bytes(file.read_bytes().ljust(size, b"\0")[:size])
    with pytest.raises(ValueError, match=r"rows\.parquet is damaged or not of this bank"):
        MemoryBank.load(tmp_path).search(torch.eye(3), 1)
