"""A bank on disk gives back what was written, in any pieces, and refuses what no search could rank."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from small_banks import eight_rows_a_block

from retrieval_explain.store import files as bank_files
from retrieval_explain.store import writer as bank_writer
from retrieval_explain.store.bank_rows import SeenIds
from retrieval_explain.store.block_hashes import BlockHashes
from retrieval_explain.store.changes import append, delete, write_notes
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

small_blocks = pytest.fixture(autouse=True)(eight_rows_a_block)


def some_rows(count, channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)


def build(directory, rows, ids=None, **options):
    with BankWriter(directory, rows.shape[1], **options) as writer:
        writer.add(rows, ids, [f"class {i % 3}" for i in range(len(rows))], [f"{i}.png" for i in range(len(rows))])
    return open_bank(directory)


@pytest.mark.parametrize(("dtype", "kept"), [("float32", np.float32), ("float16", np.float16)])
def test_a_bank_gives_back_its_rows(tmp_path, dtype, kept):
    rows = some_rows(50)
    bank = build(tmp_path / "bank", rows, dtype=dtype, encoder="conv", preprocessing="resize 84")
    expected = rows.astype(kept).astype(np.float32)
    assert len(bank) == 50
    assert bank.blocks == (7 if dtype == "float32" else 4)
    np.testing.assert_array_equal(bank.rows(0, 50), expected)
    np.testing.assert_array_equal(bank.rows(13, 31), expected[13:31])
    np.testing.assert_array_equal(np.concatenate([bank.block(i) for i in range(bank.blocks)]), expected)
    chosen = np.array([[49, 0], [7, 7]])
    np.testing.assert_array_equal(bank.take(chosen), expected[chosen])
    assert {bank.block(0).dtype, bank.rows(0, 1).dtype, bank.take(chosen).dtype} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(bank.ids, np.arange(50))
    assert bank.labels(np.array([4, 2])) == ["class 1", "class 2"]
    assert bank.paths()[49] == "49.png"
    assert (bank.manifest.encoder, bank.manifest.preprocessing) == ("conv", "resize 84")


def test_the_file_is_a_safetensors_file_in_the_stored_type(tmp_path):
    rows = some_rows(9)
    bank = build(tmp_path, rows, dtype="float16")
    stored = load_file(tmp_path / bank.version / "embeddings.safetensors")["embeddings"]
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, rows.astype(np.float16))


@given(cuts=st.lists(st.integers(0, 40), max_size=6), flushed=st.booleans())
def test_pieces_of_any_size_make_the_same_bank(tmp_path_factory, cuts, flushed):
    rows = some_rows(40)
    whole = build(tmp_path_factory.mktemp("whole"), rows)
    directory = tmp_path_factory.mktemp("pieces")
    edges = [0, *sorted(cuts), 40]
    with BankWriter(directory, 4) as writer:
        for start, stop in pairwise(edges):
            numbers = range(start, stop)
            writer.add(rows[start:stop], None, [f"class {i % 3}" for i in numbers], [f"{i}.png" for i in numbers])
            if flushed:
                writer.flush()
            assert writer.rows == stop
    bank = open_bank(directory)
    assert bank.manifest.block_sha256 == whole.manifest.block_sha256
    assert bank.table.equals(whole.table)


@given(pieces=st.lists(st.binary(max_size=20)), block=st.integers(1, 9))
def test_block_hashes_do_not_depend_on_the_pieces(pieces, block):
    hashes = BlockHashes(block)
    for piece in pieces:
        hashes.update(piece)
    data = b"".join(pieces)
    expected = [hashlib.sha256(data[i : i + block]).hexdigest() for i in range(0, len(data), block)]
    assert hashes.digests() == expected
    assert hashes.finished == len(data) // block
    assert hashes.digests(hashes.finished) == expected[hashes.finished :]


def test_the_buffer_is_kept_when_the_caller_changes_its_array(tmp_path):
    rows = some_rows(3)
    with BankWriter(tmp_path, 4) as writer:
        batch = rows.copy()
        writer.add(batch)
        batch[:] = 7
    np.testing.assert_array_equal(open_bank(tmp_path).rows(0, 3), rows)


def test_append_and_delete_make_new_versions(tmp_path):
    rows = some_rows(20)
    old = build(tmp_path, rows)
    append(tmp_path, 2 * rows[:3], labels=["new", None, "new"])
    delete(tmp_path, [0, 21, 5, 5])
    bank = open_bank(tmp_path)
    left = [i for i in range(23) if i not in (0, 5, 21)]
    np.testing.assert_array_equal(bank.ids, left)
    np.testing.assert_array_equal(bank.rows(0, 20), np.concatenate([rows, 2 * rows[:3]])[left])
    assert bank.labels()[-2:] == ["new", "new"]
    assert bank.paths()[-1] is None
    assert bank.version.startswith("version-000003-")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".lock", "CURRENT", bank.version])
    np.testing.assert_array_equal(old.rows(0, 20), rows)
    np.testing.assert_array_equal(old.ids, np.arange(20))


def test_ids_that_are_not_given_go_on_from_the_largest(tmp_path):
    with BankWriter(tmp_path, 4) as writer:
        writer.add(some_rows(2), ids=[10, 3])
        writer.add(some_rows(2))
    append(tmp_path, some_rows(1))
    np.testing.assert_array_equal(open_bank(tmp_path).ids, [10, 3, 11, 12, 13])


def test_a_bank_may_be_empty(tmp_path):
    with BankWriter(tmp_path, 4):
        pass
    bank = open_bank(tmp_path)
    assert (len(bank), bank.blocks) == (0, 0)
    assert bank.rows(0, 0).shape == (0, 4)
    assert bank.take(np.empty(0, np.int64)).shape == (0, 4)
    assert bank.ids.shape == (0,)
    append(tmp_path, some_rows(2))
    delete(tmp_path, [0, 1])
    assert len(open_bank(tmp_path)) == 0


def test_notes_stand_in_the_manifest_of_their_version(tmp_path):
    rows = some_rows(5)
    build(tmp_path, rows)
    write_notes(tmp_path, {"recall": 0.98, "index": "flat"})
    write_notes(tmp_path, {"recall": 0.99})
    bank = open_bank(tmp_path)
    assert bank.manifest.notes == {"recall": 0.99, "index": "flat"}
    np.testing.assert_array_equal(bank.rows(0, 5), rows)
    append(tmp_path, rows)
    assert open_bank(tmp_path).manifest.notes == {}


@pytest.mark.parametrize(
    ("similarity", "dtype", "value", "sentence"),
    [
        ("cosine", "float32", 0.0, r"^1 of 3 embeddings are zero or not finite, first 2\.png\. They have no cosine"),
        ("cosine", "float16", 1e-9, r"^1 of 3 embeddings are zero or not finite in float16, first 2\.png\."),
        ("euclidean", "float32", np.nan, r"^1 of 3 embeddings are not finite, first 2\.png\. They have no euclidean"),
        ("inner-product", "float32", -np.inf, r"^1 of 3 embeddings are not finite, first 2\.png\."),
        ("inner-product", "float16", 1e6, r"^1 of 3 embeddings are not finite in float16, first 2\.png\."),
    ],
)
def test_rows_without_a_similarity_are_refused(tmp_path, similarity, dtype, value, sentence):
    rows = some_rows(3)
    rows[1] = value
    with BankWriter(tmp_path, 4, dtype=dtype, similarity=similarity) as writer:
        with pytest.raises(ValueError, match=sentence):
            writer.add(rows, paths=["1.png", "2.png", "3.png"])
        assert writer.rows == 0
        writer.add(rows[[0, 2]])
    with pytest.raises(ValueError, match="first id 8"):
        append(tmp_path, rows, ids=[7, 8, 9])
    assert len(open_bank(tmp_path)) == 2


def test_zero_has_a_euclidean_similarity(tmp_path):
    assert len(build(tmp_path, np.zeros((2, 4), np.float32), similarity="euclidean")) == 2


def test_wrong_input_is_refused_and_leaves_the_bank(tmp_path):
    rows = some_rows(3)
    bank = build(tmp_path, rows, ids=[1, 2, 3], encoder="conv")
    with pytest.raises(ValueError, match=r"shape \(rows, 4\), but got \(3, 5\); use the encoder"):
        append(tmp_path, some_rows(3, channels=5))
    with pytest.raises(ValueError, match="2 of 3 are taken, first 1; give each image"):
        append(tmp_path, rows, ids=[0, 3, 1])
    with pytest.raises(ValueError, match="1 of 3 are taken, first 9;"):
        append(tmp_path, rows, ids=[9, 8, 9])
    with pytest.raises(ValueError, match="one label for each of 3 embeddings, but got 2"):
        append(tmp_path, rows, labels=["a", "b"])
    with pytest.raises(ValueError, match="one id for each of 3 embeddings, but got 1"):
        append(tmp_path, rows, ids=[9])
    with pytest.raises(ValueError, match="ids that are whole numbers"):
        append(tmp_path, rows, ids=np.array([0.5, 1, 2]))
    with pytest.raises(ValueError, match="ids that are whole numbers"):
        append(tmp_path, rows, ids=np.array([2**63, 4, 5], np.uint64))
    with pytest.raises(ValueError, match=r"the path 'a\\udcff\.png' is no Unicode text"):
        append(tmp_path, rows[:1], paths=["a\udcff.png"])
    with pytest.raises(ValueError, match=r"real numbers, but got complex64"):
        append(tmp_path, rows.astype(np.complex64))
    with pytest.raises(ValueError, match="built with encoder 'conv', but 'other' is asked for"):
        append(tmp_path, rows, encoder="other")
    with pytest.raises(LookupError, match="no image with id 0 to delete"):
        delete(tmp_path, [1, 0])
    assert open_bank(tmp_path).version == bank.version
    np.testing.assert_array_equal(open_bank(tmp_path).rows(0, 3), rows)


def test_a_bank_of_another_encoder_or_dimension_is_named(tmp_path):
    bank = build(tmp_path, some_rows(3), encoder="conv", preprocessing="84")
    bank.expect(encoder="conv", channels=4, similarity="cosine", preprocessing="84")
    for name, value, was in [("encoder", "x", "conv"), ("channels", 5, 4), ("similarity", "y", "cosine")]:
        with pytest.raises(ValueError, match=f"built with {name} {was!r}, but {value!r} is asked for"):
            bank.expect(**{name: value})


def test_positions_outside_are_refused(tmp_path):
    bank = build(tmp_path, some_rows(3))
    with pytest.raises(ValueError, match="between 0 and 3, but got 2 to 4"):
        bank.rows(2, 4)
    with pytest.raises(ValueError, match="positions from 0 to 2, but got -1"):
        bank.take(np.array([0, -1]))
    with pytest.raises(ValueError, match="positions from 0 to 2, but got 3"):
        bank.take(np.array([3]))


def test_wrong_settings_and_places_are_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype float32 or float16 for a bank, but got 'float64'"):
        BankWriter(tmp_path, 4, dtype="float64")
    with pytest.raises(ValueError, match="at least one channel, but got 0"):
        BankWriter(tmp_path, 0)
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds other files, such as photo\.png"), BankWriter(tmp_path, 4):
        pass
    with pytest.raises(ValueError, match=r"photo\.png is a file"), BankWriter(tmp_path / "photo.png", 4):
        pass
    for change in (lambda: open_bank(tmp_path), lambda: delete(tmp_path, [0]), lambda: append(tmp_path, some_rows(1))):
        with pytest.raises(FileNotFoundError, match="holds no file CURRENT; build a bank there first"):
            change()


def test_each_block_is_hashed_once_and_only_when_it_is_read(tmp_path, monkeypatch):
    bank = build(tmp_path, some_rows(40))
    checked = []
    monkeypatch.setattr(bank_files, "_check", lambda path, data, expected: checked.append(expected))
    bank.take(np.array([0, 9, 1, 8]))
    assert checked == list(bank.manifest.block_sha256[:2])
    bank.rows(8, 24)
    bank.block(1)
    assert checked == list(bank.manifest.block_sha256[:3])


@given(st.lists(st.lists(st.integers(0, 60), max_size=8), max_size=12))
def test_an_id_is_taken_once(pieces):
    seen, taken = SeenIds(), set()
    for piece in pieces:
        ids = np.array(piece, dtype=np.int64)
        if len(set(piece)) < len(piece) or taken & set(piece):
            with pytest.raises(ValueError, match="every id may stand once"):
                seen.add(ids)
        else:
            seen.add(ids)
            taken |= set(piece)
        assert seen.next_id == max(taken, default=-1) + 1


def test_a_long_build_keeps_pieces_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(bank_writer, "PIECE_BYTES", 160)
    with BankWriter(tmp_path, 4) as writer:
        for start in range(0, 40, 4):
            writer.add(some_rows(4, seed=start))
        assert len(list((tmp_path / "unfinished").glob("pieces-*.parquet"))) == 3
    assert len(open_bank(tmp_path)) == 40
