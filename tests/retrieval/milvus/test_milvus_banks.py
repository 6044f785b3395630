"""Banks on a real Milvus server: what they return is what a bank in memory returns, and nothing else is taken."""

import json

import numpy as np
import pytest
import torch
from milvus_server import new_place, running_server

from episodes.errors import Busy, MissingFile, Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.bank_address import as_address
from retrieval_explain.cli.app import run
from retrieval_explain.milvus.bank import MilvusStore
from retrieval_explain.milvus.entities import EMBEDDING, KEY, KNOWN, ROW
from retrieval_explain.ranking.neighbors import scan
from retrieval_explain.search.recall import verify

running = pytest.fixture(scope="module")(running_server)
place = pytest.fixture(new_place)

SIMILARITIES = ("cosine", "inner-product", "euclidean", "cosine@64,96", "euclidean@64,96")
ROWS, CHANNELS = 700, 24


def random_bank(similarity="cosine", rows=ROWS, seed=0):
    """A bank with equal rows, more than a search asks for beyond k, so that float32 leaves their order open."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((rows, CHANNELS)).astype(np.float32)
    embeddings[rows // 2 : rows // 2 + 60] = embeddings[0]
    labels = [None if row % 11 == 0 else f"class {row % 5}" for row in range(rows)]
    paths = [f"{row}.png" if row % 3 else None for row in range(rows)]
    return MemoryBank.from_embeddings(
        embeddings, labels, paths=paths, similarity=similarity, ids=range(50, 50 + rows), encoder="e", preprocessing="p"
    )


def queries_of(bank, seed=1):
    drawn = np.random.default_rng(seed).standard_normal((8, CHANNELS)).astype(np.float32)
    return torch.cat([bank.rows.read(0, 8), torch.from_numpy(drawn)])


def assert_same_bank(found, expected):
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.classes == expected.classes
    assert list(found.paths) == list(expected.paths)
    assert torch.equal(found.rows.read(0, len(found)), expected.rows.read(0, len(expected)))
    assert (found.encoder, found.preprocessing, found.similarity) == ("e", "p", expected.similarity)


def assert_same_search(found, expected, queries, **options):
    theirs, ours = found.search(queries, **options), expected.search(queries, **options)
    assert torch.equal(theirs.indices, ours.indices)
    assert torch.equal(theirs.similarities, ours.similarities)
    assert torch.equal(theirs.labels, ours.labels)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_neighbors_are_those_of_brute_force(similarity, place):
    bank, address = random_bank(similarity), place()
    bank.save(address)
    found, queries = MemoryBank.open(address), queries_of(bank)
    assert_same_bank(found, bank)
    assert found.verified.sentence == "recall@200 1.000 on 100 sampled rows"
    slow = scan(queries, bank.rows, similarity, 20)
    assert torch.equal(found.search(queries, 20).indices, slow.indices)
    some = {"classes": ["class 1", "class 3"]}
    for options in ({}, {"k": 1}, {"k": ROWS}, some, {"ids": [60, 61, 77], "k": 2}, {"without": torch.arange(9)}):
        assert_same_search(found, bank, queries, **options)
    assert_same_search(found, bank, queries, k=5, leave_out=(torch.arange(16) - 8).clamp(min=-1))
    assert_same_search(found, bank, queries, k=5, classes=["class 2"], without=torch.arange(40))


def test_more_is_asked_for_where_float32_leaves_the_order_open(place, monkeypatch):
    bank, address = random_bank(), place()
    bank.save(address)
    found, asked = MemoryBank.open(address), []
    index = type(found.verified.index)
    candidates = index._candidates
    monkeypatch.setattr(index, "_candidates", lambda self, q, n, c: asked.append(n) or candidates(self, q, n, c))
    assert_same_search(found, bank, bank.rows.read(0, 1), k=3)
    assert asked == [35, 70]  # 61 equal rows are nearest


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_other_indices_are_the_servers_and_are_measured(kind, place):
    bank, address = random_bank(), place()
    bank.save(address)
    found = MemoryBank.open(address).indexed(kind, k=10, recall=0.9)
    assert found.verified.index.kind == kind
    again = verify(found.verified.index, bank.rows, 10, 0.9)
    assert found.verified.recall == pytest.approx(again.recall, abs=0.05)
    assert MemoryBank.open(address).verified.index.kind == kind
    assert_same_search(found, bank, queries_of(bank), k=9, classes=["class 1"])  # filtered searches are exact
    kept = MemoryBank.open(address).indexed(kind, k=10, recall=0.9)
    assert kept.verified == found.verified


def test_an_index_that_the_server_does_not_have_leaves_the_exhaustive_one(place):
    bank, address = random_bank(), place()
    bank.save(address)
    with pytest.raises(Mistake, match="refused create_index"):
        MemoryBank.open(address).indexed("ivf-pq", k=10)
    assert_same_search(MemoryBank.open(address), bank, queries_of(bank))


def test_what_was_measured_is_kept_until_the_rows_change(place, monkeypatch):
    bank, address = random_bank(), place()
    bank.save(address)
    MemoryBank.open(address)
    measured = []
    monkeypatch.setattr(
        "retrieval_explain.milvus.server_index.verify", lambda *given: measured.append(1) or verify(*given)
    )
    MemoryBank.open(address)
    assert not measured
    MemoryBank.open(address).append(np.ones((1, CHANNELS), np.float32))
    assert measured == [1]


def changed(bank):
    """Make every kind of change; ``bank`` is on a server or in memory."""
    new = np.random.default_rng(5).standard_normal((30, CHANNELS)).astype(np.float32)
    bank = bank.append(new, ["new"] * 30, paths=[f"new {number}.png" for number in range(30)])
    bank = bank.delete([50, 51, 400, int(bank.ids[-1])])
    bank = bank.update([60, 55], new[:2] * 3, paths=["other.png", "more.png"])
    bank = bank.update([70], labels=["class 9"])
    return bank.append(new[:1], ids=[9])


@pytest.mark.parametrize("similarity", ["cosine", "euclidean@64,96"])
def test_changes_are_those_of_a_bank_in_memory(similarity, place):
    bank, address = random_bank(similarity), place()
    bank.save(address)
    expected, made = changed(bank), changed(MemoryBank.open(address))
    for found in (made, MemoryBank.open(address)):
        assert_same_bank(found, expected)
        assert_same_search(found, expected, queries_of(bank))
    collection = MilvusStore(as_address(address))._collection()
    there = [one for page in collection.pages(10_000) for one in page]
    assert len(there) == len(expected)  # nothing that is gone stays on the server


def test_a_bank_that_was_changed_meanwhile_says_so(place):
    bank, address = random_bank(rows=40), place()
    bank.save(address)
    one, other = MemoryBank.open(address), MemoryBank.open(address)
    other.delete([50])
    with pytest.raises(Busy, match="was changed by another process since it was opened; open it again"):
        one.search(queries_of(bank), 3)
    with pytest.raises(Busy, match="open it again"):
        MilvusStore(as_address(address)).open().rows.held.collection.embeddings(np.array([1]), CHANNELS)


def test_a_new_bank_takes_the_place_of_the_old_one(place):
    address = place()
    random_bank().save(address)
    other = random_bank("euclidean", rows=30, seed=3)
    other.save(address)
    assert_same_bank(MemoryBank.open(address), other)
    store = MilvusStore(as_address(address))
    assert store.others() == []


def test_damage_is_told_and_nothing_short_is_returned(place):
    address = place()
    random_bank(rows=40).save(address)
    collection = MilvusStore(as_address(address))._collection()
    entity = collection.query(f"{ROW} == 7", (*KNOWN, EMBEDDING))[0]
    collection.call("upsert", data=[entity | {EMBEDDING: [1.0] * CHANNELS}])
    with pytest.raises(Mistake, match="row 7, id 57, is not what was written; build the bank again"):
        MemoryBank.open(address)  # which reads the rows to measure the index
    collection.remove([entity[KEY]])
    with pytest.raises(Mistake, match=r"expected 40 rows in the bank milvus://.* but it holds 39 rows"):
        MemoryBank.open(address)


def test_other_collections_and_dimensions_are_refused(place):
    address = place()
    store = MilvusStore(as_address(address))
    with pytest.raises(MissingFile, match="holds none; build one there first"):
        MemoryBank.open(address)
    store.server.call("create_collection", store.address.collection, dimension=4)
    for work in (lambda: MemoryBank.open(address), lambda: random_bank(rows=40).save(address)):
        with pytest.raises(Mistake, match="is a collection that this software did not make; choose another name"):
            work()
    mine = place()
    random_bank(rows=40).save(mine)
    with pytest.raises(Mistake, match=f"expected queries of {CHANNELS} channels, but got 3"):
        MemoryBank.open(mine).search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(Mistake, match=f"expected embeddings of shape \\(rows, {CHANNELS}\\), but got"):
        MemoryBank.open(mine).append(np.ones((1, 3), np.float32))
    with pytest.raises(Mistake, match=r"the index of the bank .* is one of cosine, but euclidean is asked for"):
        MemoryBank.open(mine, similarity="euclidean").indexed("flat")
    assert MemoryBank.open(mine, similarity="euclidean").verified is None  # every row is read and compared


def test_the_commands_take_addresses(place, tmp_path, capsys):
    folder, network = tmp_path / "colors", ("--encoder", "conv4net")
    colors(folder)
    address, local = place(), str(tmp_path / "bank")
    for bank in (address, local):
        assert run(["build", str(folder), "--bank", bank, *network]) == 0
    query = str(folder / "red" / "1.png")
    told = []
    for bank in (address, local):
        out = tmp_path / "found.json"
        asked = ["search", query, "--bank", bank, "-k", "4", "--class", "red", "--class", "blue", *network]
        assert run([*asked, "--out", str(out)]) == 0
        told.append(json.loads(out.read_text()))
        page = tmp_path / "page.html"
        assert (
            run(["inspect", query, "--bank", bank, "-k", "5", "--expected", "blue", "--out", str(page), *network]) == 0
        )
        assert run(["audit", "--bank", bank, "--k", "2", "--out", str(tmp_path / "audit"), "--overwrite"]) == 0
        told.append(json.loads((tmp_path / "audit" / "summary.json").read_text()))
    assert told[0] == told[2]
    assert told[1] == told[3]
    (folder / "green" / "0.png").unlink()
    assert run(["remove", "--missing", "--bank", address]) == 0
    assert "1 images removed, 8 left" in capsys.readouterr().out
    colors(folder)
    assert run(["build", str(folder), "--append", "--bank", address, *network]) == 0
    assert "1 image added, 8 images left out" in capsys.readouterr().err
    assert run(["search", query, "--bank", address, *network, "--pooling", "gmp"]) == 2
    assert "the bank was built with encoder" in capsys.readouterr().err


def test_an_evaluation_searches_a_bank_on_a_server(place, tmp_path, capsys):
    folder, network = tmp_path / "colors", ("--encoder", "conv4net")
    colors(folder)
    address = place()
    assert run(["build", str(folder), "--bank", address, *network]) == 0
    config = tmp_path / "bank.toml"
    config.write_text(
        f'[data]\nkind = "image-folder"\nroot = "colors"\n[gallery]\nkind = "bank"\ndirectory = "{address}"\n'
        '[encoder]\nname = "conv4net"\n[decision]\nk = 3\n[explanation]\nmethods = ["fam"]\n'
    )
    assert run(["evaluate", "--config", str(config)]) == 0
    assert "Recall@1" in capsys.readouterr().out


def colors(folder):
    from torchvision.utils import save_image

    generator = torch.Generator().manual_seed(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            image = 0.2 * torch.rand(3, 84, 84, generator=generator)
            image[channel] += 0.7
            save_image(image, folder / name / f"{number}.png")
