"""What a killed Milvus server has written half, an index or a collection: banks are written and read all the same."""

import pytest
import torch
from milvus_banks import OLD, embeddings, holds, old_bank
from milvus_server import new_place, running_server

from episodes.errors import Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.bank_address import as_address
from retrieval_explain.milvus import server as server_module
from retrieval_explain.milvus import writer
from retrieval_explain.milvus.bank import MilvusStore
from retrieval_explain.milvus.server import Server

running = pytest.fixture(scope="module")(running_server)
place = pytest.fixture(new_place)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean@64,96"])
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("kept", [0, 60])
def test_an_index_that_was_written_half_is_made_again_from_the_rows(kept, kind, similarity, running, place):
    address, queries = place(), embeddings(3, seed=4)
    bank = MemoryBank.from_embeddings(embeddings(2000, seed=9), ["other"] * 2000, similarity=similarity)
    bank.save(address)
    MemoryBank.open(address).indexed(kind, k=5)
    store = MilvusStore(as_address(address))
    running.kill()
    files = list((running.folder / "collections" / store.address.collection).parent.rglob(f"*.{kind}.idx"))
    own = [path for path in files if f"/{store.address.collection}_" in str(path)]
    assert own
    for path in own:
        path.write_bytes(path.read_bytes()[:kept])
    running.start()
    with pytest.warns(UserWarning, match=r"refused load_collection .* No row is lost: an exhaustive index was put"):
        opened = MemoryBank.open(address)
    assert holds(store, bank)
    assert torch.equal(opened.search(queries, 5).indices, bank.search(queries, 5).indices)
    assert opened.indexed(kind, k=5).verified.index.kind == kind
    assert torch.equal(opened.indexed(kind, k=5).search(queries, 5).indices, bank.search(queries, 5).indices)


def test_an_index_that_is_gone_is_put_again(place):
    address, queries = place(), embeddings(3, seed=4)
    OLD.save(address)
    collection = MilvusStore(as_address(address))._collection()
    collection.call("release_collection")
    collection.call("drop_index", index_name="embedding")
    found = MemoryBank.open(address).search(queries, 5)
    assert torch.equal(found.indices, OLD.search(queries, 5).indices)
    assert collection.call("describe_index", index_name="embedding")["index_type"] == "FLAT"


def test_a_collection_that_was_made_half_gives_its_name_up(running, place, monkeypatch):
    store, names = MilvusStore(as_address(place())), iter(("a" * 12, "a" * 12))
    half = running.folder / "collections" / f"{store.address.collection}_{'a' * 12}"
    half.mkdir()  # where a kill ends the making of a collection
    monkeypatch.setattr(writer.secrets, "token_hex", lambda size: "0" * 16 if size == 8 else next(names))
    with pytest.raises(server_module.Refused, match="File exists"):  # both times
        OLD.save(store)
    names = iter(("a" * 12, "b" * 12))
    OLD.save(store)
    assert holds(store, OLD)
    assert store._collection().name.endswith("_" + "b" * 12)


def test_a_refusal_for_another_reason_is_passed_on_and_changes_no_index(place, monkeypatch):
    store = old_bank(place())
    calls, refusal = [], server_module.Refused("it has no memory left")
    refusal.code = 3

    def call(self, verb, *args, **options):
        calls.append(verb)
        raise refusal

    monkeypatch.setattr(Server, "call", call)
    with pytest.raises(Mistake, match="it has no memory left"):
        store.server.load("any")
    assert calls == ["load_collection"]
