"""A kept index is used when it is exactly what was recorded, and built again in every other case."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from retrieval_explain.ranking.neighbors import RowsInMemory
from retrieval_explain.search import index_cache, kept_index
from retrieval_explain.search.index import build_index, search, write_index
from retrieval_explain.search.index_cache import INDEXES, NOTE, Record, cached, read_checked
from retrieval_explain.store.changes import append, delete, write_notes
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.versions import bank_lock
from retrieval_explain.store.writer import BankWriter

ROWS = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
QUERIES = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32))


def write_bank(directory, rows=ROWS):
    with BankWriter(directory, 8) as writer:
        writer.add(rows)
    return directory


@pytest.fixture
def bank(tmp_path):
    return write_bank(tmp_path / "bank")


@pytest.fixture
def built(monkeypatch):
    """The kinds that were built, in order."""
    kinds = []
    build = index_cache.build_index
    monkeypatch.setattr(index_cache, "build_index", lambda *args: kinds.append(args[2]) or build(*args))
    return kinds


def index_of(directory, kind="ivf", k=10, recall=0.95):
    stored = open_bank(directory)
    rows = RowsInMemory(torch.from_numpy(stored.rows(0, len(stored)).copy()))
    verified = cached(stored, rows, "cosine", kind, k, recall)
    return verified, search(verified.index, rows, QUERIES, k)


def cache_files(directory):
    return sorted((directory / INDEXES).iterdir())


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-pq"])
def test_an_index_is_built_once_and_then_read(kind, bank, built):
    first, expected = index_of(bank, kind)
    again, found = index_of(bank, kind)
    assert built == [kind]
    assert again == first
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.similarities, expected.similarities)
    assert len(cache_files(bank)) == 1


def test_the_bank_that_is_open_meets_its_own_new_index(bank, built):
    stored = open_bank(bank)
    for _ in range(2):
        cached(stored, RowsInMemory(torch.from_numpy(ROWS)), "cosine", "ivf", 10, 0.95)
    assert built == ["ivf"]
    np.testing.assert_array_equal(stored.rows(0, 300), ROWS)


def test_the_exact_search_keeps_nothing(bank):
    assert index_of(bank, "flat")[0].index.is_exact
    assert not (bank / INDEXES).exists()


def mutations(data, other):
    """500 files that are not the recorded one, of six kinds."""
    rng = np.random.default_rng(7)
    for number in range(500):
        changed = bytearray(data)
        match number % 6:
            case 0:
                changed[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            case 1:
                del changed[rng.integers(len(data)) :]
            case 2:
                changed += rng.bytes(int(rng.integers(1, 50)))
            case 3:
                start = int(rng.integers(len(data) - 64))
                changed[start : start + 64] = bytes(64) if any(changed[start : start + 64]) else b"\1" * 64
            case 4:
                cut = int(rng.integers(len(data) // 4, len(data) // 2))
                changed[:] = other[:cut] + data[cut:]
            case 5:
                start, stop = sorted(rng.integers(len(data), size=2).tolist())
                changed[start:stop] = changed[start:stop][::-1] + b"x"
        yield bytes(changed)


def test_five_hundred_changed_caches_are_all_noticed(bank, tmp_path, built, monkeypatch):
    _, expected = index_of(bank)
    write_bank(tmp_path / "other", ROWS[::-1].copy())
    index_of(tmp_path / "other")
    path, foreign = cache_files(bank)[0], cache_files(tmp_path / "other")[0].read_bytes()
    whole = path.read_bytes()
    record = Record.model_validate(open_bank(bank).manifest.notes[NOTE]["ivf"])
    assert read_checked(path, record) == whole
    changed = [b"", foreign, *mutations(whole, foreign)]
    assert whole not in changed
    for data in changed:
        path.write_bytes(data)
        assert read_checked(path, record) is None
    path.unlink()
    assert read_checked(path, record) is None
    parsed = []
    read = kept_index.read_index
    monkeypatch.setattr(kept_index, "read_index", lambda *args: parsed.append(1) or read(*args))
    built.clear()
    for data in changed[:8]:
        path.write_bytes(data)
        assert torch.equal(index_of(bank)[1].indices, expected.indices)
        assert not parsed
    assert built == ["ivf"] * 8
    index_of(bank)
    assert parsed == [1]


def test_a_link_in_place_of_the_cache_is_not_followed(bank, built, tmp_path):
    index_of(bank)
    path = cache_files(bank)[0]
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    index_of(bank)
    assert built == ["ivf", "ivf"]


def test_another_k_recall_or_version_of_faiss_is_built_again(bank, built, monkeypatch):
    index_of(bank)
    index_of(bank, k=20)
    assert built == ["ivf"] * 2
    reached = index_of(bank, k=20)[0].recall
    lower, _ = index_of(bank, k=20, recall=0.5)
    assert (lower.asked, lower.recall) == (0.5, reached)
    assert built == ["ivf"] * 2
    index_of(bank, k=20, recall=1.0)
    assert len(built) == (2 if reached == 1 else 3)
    built.clear()
    monkeypatch.setattr(index_cache, "FAISS_VERSION", "0.0.1")
    index_of(bank, k=20, recall=1.0)
    assert built == ["ivf"]


def test_a_recall_that_was_missed_is_not_tried_for_again(bank, built, monkeypatch):
    monkeypatch.setattr("retrieval_explain.search.recall.widened", lambda index: None)
    missed, _ = index_of(bank, "ivf-pq", k=100, recall=1.1)
    assert not missed.reached
    assert "below the 1.1 that was asked for" in missed.sentence
    assert index_of(bank, "ivf-pq", k=100, recall=1.1)[0] == missed
    assert built == ["ivf-pq"]


@pytest.mark.parametrize("change", [lambda bank: append(bank, 2 * ROWS[:9]), lambda bank: delete(bank, range(50))])
def test_changed_rows_get_a_new_index_and_the_old_file_goes(change, bank, built):
    index_of(bank)
    old = cache_files(bank)
    change(bank)
    assert NOTE not in open_bank(bank).manifest.notes
    verified, found = index_of(bank)
    assert verified.index.faiss_index.ntotal == len(open_bank(bank))
    assert int(found.indices.max()) < len(open_bank(bank))
    assert built == ["ivf", "ivf"]
    assert len(cache_files(bank)) == 1
    assert cache_files(bank) != old


def test_each_kind_has_its_own_file(bank, built):
    for kind in ("ivf", "hnsw", "ivf", "hnsw"):
        index_of(bank, kind)
    assert built == ["ivf", "hnsw"]
    assert [path.name.split("-")[0] for path in cache_files(bank)] == ["hnsw", "ivf"]


def test_a_record_of_other_rows_or_of_nothing_known_is_not_used(bank, built):
    index_of(bank)
    record = open_bank(bank).manifest.notes[NOTE]["ivf"]
    wrong = [{"embeddings": "0" * 64}, {"bytes": "many"}, {"recall": None}, {"more": 1}]
    for notes in [*(record | change for change in wrong), "nonsense", None]:
        write_notes(bank, {NOTE: {"ivf": notes}})
        built.clear()
        index_of(bank)
        assert built == ["ivf"]
    write_notes(bank, {NOTE: [1, 2]})
    index_of(bank)
    assert json.loads((bank / open_bank(bank).version / "manifest.json").read_text())["notes"][NOTE]["ivf"] == record


def of_other_rows(kind):
    other = RowsInMemory(torch.from_numpy(ROWS[:50].repeat(6, axis=0)))
    written = []
    write_index(build_index(other, "cosine", kind, 10), lambda data: written.append(data) or len(data))
    return b"".join(written)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-pq"])
@pytest.mark.parametrize("data", [of_other_rows, lambda _: b"", lambda _: b"IwFl" + b"\xff" * 200])
def test_an_index_of_others_is_not_used_though_its_hash_is_right(bank, built, kind, data):
    _, expected = index_of(bank, kind)
    notes = open_bank(bank).manifest.notes
    content = data(kind)
    sha256 = hashlib.sha256(content).hexdigest()
    (bank / INDEXES / index_cache.file_name(kind, sha256)).write_bytes(content)
    write_notes(bank, {NOTE: {kind: notes[NOTE][kind] | {"sha256": sha256, "bytes": len(content)}}})
    built.clear()
    assert torch.equal(index_of(bank, kind)[1].indices, expected.indices)
    assert built == [kind]


@pytest.mark.parametrize("settings", [{}, {"paths": 0}, {"paths": 2**40}, {"probed": 8}])
def test_settings_of_others_are_in_their_range(bank, built, settings):
    index_of(bank, "hnsw")
    record = open_bank(bank).manifest.notes[NOTE]["hnsw"]
    changed = record["settings"] | settings if settings else {}
    write_notes(bank, {NOTE: {"hnsw": record | {"settings": changed}}})
    index_of(bank, "hnsw")
    assert built == ["hnsw", "hnsw"]


def test_a_bank_that_cannot_be_written_to_is_searched_all_the_same(bank, built):
    (bank / INDEXES).write_text("in the way")
    _, expected = index_of(bank)
    (bank / INDEXES).unlink()
    with bank_lock(bank):
        assert torch.equal(index_of(bank)[1].indices, expected.indices)
    assert NOTE not in open_bank(bank).manifest.notes
    assert torch.equal(index_of(bank)[1].indices, expected.indices)
    assert built == ["ivf"] * 3
    assert len(cache_files(bank)) == 1


def test_a_bank_changed_while_its_index_was_built_does_not_get_it(bank, monkeypatch):
    stored = open_bank(bank)
    append(bank, 2 * ROWS[:9])
    cached(stored, RowsInMemory(torch.from_numpy(ROWS)), "cosine", "ivf", 10, 0.95)
    assert NOTE not in open_bank(bank).manifest.notes
    assert not cache_files(bank)


def test_nothing_half_written_is_left_by_an_error(bank, monkeypatch):
    def fails(index, write):
        write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(index_cache, "write_index", fails)
    index_of(bank)
    assert not cache_files(bank)
