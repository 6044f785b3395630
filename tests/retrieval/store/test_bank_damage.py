"""Damaged, exchanged and missing files of a bank, seen through its search: one sentence, never a wrong neighbor."""

import random
import shutil

import numpy as np
import pytest
import torch
from small_banks import small_blocks_and_pieces

from retrieval_explain import MemoryBank
from retrieval_explain.store.changes import append, delete
from retrieval_explain.store.writer import BankWriter

small_blocks = pytest.fixture(autouse=True)(small_blocks_and_pieces)
FILES = ("CURRENT", "manifest.json", "embeddings.safetensors", "rows.parquet")
QUERIES = torch.randn(5, 4, generator=torch.Generator().manual_seed(9))
ONE_SENTENCE = r"^[^\n]+(restore a copy of the bank or build it again|build a bank there first)\.$"


def bank_of(directory, seed):
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(seed))
    labels = np.random.default_rng(seed).permutation(list("aabbbccddd") * 4).tolist()
    bank = MemoryBank.from_embeddings(rows, labels=labels, paths=[f"{seed}/{i:02d}.png" for i in range(40)])
    bank.save(directory)
    return bank


def place_of(directory, name):
    return directory / name if name == "CURRENT" else next(directory.glob(f"version-*/{name}"))


def answer(directory):
    bank = MemoryBank.load(directory)
    found = bank.search(QUERIES, 3)
    return found.indices.tolist(), [bank.classes[label] for label in found.labels.flatten()], bank.paths[7]


def damages(name, data, other):
    """Yield what may become of a file: shortened, lengthened, with bits flipped or a part zeroed, another bank's."""
    chance = random.Random(name)
    for _ in range(10):
        yield data[: chance.randrange(len(data))]
        position, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        yield data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]
        start = chance.randrange(len(data) - 1)
        yield data[:start] + bytes(len(data[start : start + 64])) + data[start + 64 :]
    yield from (b"", data + b"\0", data + data, other)


@pytest.mark.parametrize("name", FILES)
def test_no_neighbor_comes_out_of_a_damaged_bank(tmp_path, name):
    bank_of(tmp_path / "bank", 0)
    bank_of(tmp_path / "other", 1)
    right = answer(tmp_path / "bank")
    path = place_of(tmp_path / "bank", name)
    data, other = path.read_bytes(), place_of(tmp_path / "other", name).read_bytes()
    assert data != other
    for damaged in damages(name, data, other):
        if damaged == data:
            continue
        path.write_bytes(damaged)
        with pytest.raises((ValueError, FileNotFoundError), match=ONE_SENTENCE):
            answer(tmp_path / "bank")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=ONE_SENTENCE):
        answer(tmp_path / "bank")
    path.write_bytes(data)
    assert answer(tmp_path / "bank") == right


def test_the_whole_version_of_another_bank_is_refused(tmp_path):
    bank_of(tmp_path / "bank", 0)
    bank_of(tmp_path / "other", 1)
    ours, theirs = (next((tmp_path / name).glob("version-*")) for name in ("bank", "other"))
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged or not of this bank"):
        answer(tmp_path / "bank")


def test_a_block_is_checked_before_any_neighbor_of_it_is_returned(tmp_path):
    bank = bank_of(tmp_path / "bank", 0)
    path = place_of(tmp_path / "bank", "embeddings.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1  # in the last of five blocks
    path.write_bytes(data)
    stored = MemoryBank.load(tmp_path / "bank")
    assert torch.equal(stored.rows.read(0, 32), bank.rows.read(0, 32))
    for use in (
        lambda: stored.search(QUERIES, 1),
        lambda: stored.search(QUERIES, 1, without=torch.tensor([39])),
        lambda: stored.indexed("hnsw", k=2),
        lambda: stored.rows.take(torch.tensor([39])),
        lambda: append(tmp_path / "bank", np.ones((1, 4), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"embeddings\.safetensors is damaged or not of this bank"):
            use()


def test_an_empty_bank_opens_and_says_so_when_it_is_searched(tmp_path):
    with BankWriter(tmp_path / "bank", 4):
        pass
    bank = MemoryBank.load(tmp_path / "bank")
    assert (len(bank), bank.labels.tolist(), bank.ids.tolist(), bank.classes, list(bank.paths)) == (0, [], [], (), [])
    for question in (
        {},
        {"k": 1},
        {"without": torch.tensor([], dtype=torch.int64)},
        {"leave_out": torch.full((5,), -1)},
    ):
        with pytest.raises(ValueError, match=r"^the bank holds no images to search among; add some first\.$"):
            bank.search(QUERIES, **question)
    with pytest.raises(ValueError, match="the bank holds no images"):
        bank.indexed("hnsw")
    append(tmp_path / "bank", np.eye(4, dtype=np.float32))
    delete(tmp_path / "bank", [0, 1, 2, 3])
    bank.save(tmp_path / "saved")
    assert len(MemoryBank.load(tmp_path / "saved")) == len(MemoryBank.load(tmp_path / "bank")) == 0


def test_questions_that_have_no_answer(tmp_path):
    bank_of(tmp_path / "bank", 0)
    bank = MemoryBank.load(tmp_path / "bank")
    for question, sentence in [
        ({"k": 41}, "asked for 41 neighbors, but there are 40 embeddings to search among; lower k"),
        ({"k": 9, "classes": ["a"]}, "asked for 9 neighbors, but there are 8 embeddings to search among; lower k"),
        ({"k": 8, "classes": ["a"], "without": (bank.labels == 0).nonzero()[:1]}, "there are 7 embeddings"),
        ({"k": 3, "ids": [4, 5]}, "there are 2 embeddings"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            bank.search(QUERIES, **question)
    with pytest.raises(ValueError, match="queries of 4 channels, but got 5; use the bank's encoder"):
        bank.search(torch.ones(1, 5))
    for value in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="1 of 1 queries are zero or not finite"):
            bank.search(torch.full((1, 4), value))


def test_duplicates_on_disk_come_in_the_order_of_their_rows(tmp_path):
    MemoryBank.from_embeddings(torch.ones(30, 4)).save(tmp_path)
    bank = MemoryBank.load(tmp_path)
    assert bank.search(torch.ones(4), 12).indices.tolist() == list(range(12))
    assert bank.search(torch.ones(4), 3, without=torch.arange(20)).indices.tolist() == [20, 21, 22]


def test_a_reader_keeps_its_version_while_others_change_the_bank(tmp_path):
    bank_of(tmp_path / "bank", 0)
    bank = MemoryBank.load(tmp_path / "bank")
    append(tmp_path / "bank", np.ones((3, 4), np.float32), labels=["z", "z", "z"])
    delete(tmp_path / "bank", list(range(20)))
    assert len(bank) == len(bank.labels) == len(bank.ids) == 40
    assert bank.classes == ("a", "b", "c", "d")
    assert bank.search(QUERIES, 40).indices.sort(dim=-1).values.tolist() == [list(range(40))] * 5
    assert MemoryBank.load(tmp_path / "bank").classes == ("a", "b", "c", "d", "z")
