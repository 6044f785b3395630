"""Servers and writers that are killed in the middle: nothing is lost, doubled, or silently short."""

import threading
import time

import numpy as np
import pytest
import torch
from milvus_banks import CHANNELS, OLD, OTHER, embeddings, holds, old_bank
from milvus_server import new_place, running_server

from episodes.errors import Busy, Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.bank_address import as_address
from retrieval_explain.milvus import server as server_module
from retrieval_explain.milvus.bank import MilvusStore
from retrieval_explain.milvus.server import Server
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.row_changes import appended, deleted, updated

running = pytest.fixture(scope="module")(running_server)
place = pytest.fixture(new_place)

HALF_AN_INDEX = "ignore:.*No row is lost. an exhaustive index:UserWarning"  # where a kill met the server writing one
pytestmark = pytest.mark.filterwarnings(HALF_AN_INDEX)


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


WORKS = {
    "build": (OTHER.save, OTHER),
    "append": (
        lambda store: store.change(lambda bank: appended(bank, embeddings(9, seed=2), None, ["new"] * 9)),
        OLD.append(embeddings(9, seed=2), ["new"] * 9),
    ),
    "delete": (lambda store: store.change(lambda bank: deleted(bank, [3, 4, 29])), OLD.delete([3, 4, 29])),
    "update": (
        lambda store: store.change(lambda bank: updated(bank, [7, 2], embeddings(2, seed=3))),
        OLD.update([7, 2], embeddings(2, seed=3)),
    ),
}


def is_clean(store):
    """Say whether nothing but the bank's rows is on the server."""
    collection = store._collection()
    there = sum(len(page) for page in collection.pages(collection.end()))
    return there == len(store.open().entries.ids) and not store.others()


def cleans_up(store, name):
    """Write once more: a change removes what stopped changes left, a build what stopped builds did."""
    if name == "build":
        OTHER.save(store)
    else:
        store.change(lambda bank: updated(bank, [5], labels=[None]))


def counted(monkeypatch, at, act):
    """Let ``act`` happen before the ``at``-th call of a server; return the numbers of the calls."""
    real, calls = Server.call, []

    def call(self, verb, *args, **options):
        calls.append(verb)
        if len(calls) == at:
            act()
        return real(self, verb, *args, **options)

    monkeypatch.setattr(Server, "call", call)
    return calls


def calls_of(work, place, monkeypatch):
    store = old_bank(place())
    with monkeypatch.context() as patched:
        calls = counted(patched, 0, lambda: None)
        work(store)
    return len(calls)


@pytest.mark.parametrize("name", WORKS)
def test_a_writer_that_is_killed_leaves_the_old_bank_or_the_new_one(name, place, monkeypatch):
    work, after = WORKS[name]
    left = []
    for at in range(1, calls_of(work, place, monkeypatch) + 1):
        store = old_bank(place())

        def killed():
            raise Killed

        with monkeypatch.context() as patched:
            calls = counted(patched, at, killed)
            patched.setattr(server_module.Server, "call", stopped_from(Server.call, calls, at))
            with pytest.raises(Killed):
                work(store)
        left.append(holds(store, after))
        assert left[-1] or holds(store, OLD)
        if not left[-1]:
            work(store)  # and the next writer cleans up and finds its way
        assert holds(store, after)
        cleans_up(store, name)
        assert is_clean(store)
    assert left == sorted(left)  # old up to the commit, new from there on
    assert left[0] is False
    assert left[-1] is True


def stopped_from(call, calls, at):
    """Let no call through once one was stopped: a process that is gone does not tidy up."""

    def gone(self, verb, *args, **options):
        if len(calls) >= at:
            raise Killed
        return call(self, verb, *args, **options)

    return gone


@pytest.mark.parametrize("name", ["build", "append"])
def test_a_server_that_is_killed_and_started_again_is_waited_for(name, place, running, monkeypatch):
    work, after = WORKS[name]
    count = calls_of(work, place, monkeypatch)
    for at in np.unique(np.linspace(2, count, 6).astype(int)).tolist():
        store = old_bank(place())
        starter = threading.Timer(0.5, running.start)

        def killed(starter=starter):
            running.kill()
            starter.start()

        with monkeypatch.context() as patched:
            counted(patched, at, killed)
            work(store)
        starter.join()
        assert holds(store, after)
        assert is_clean(store)


@pytest.mark.parametrize("name", ["build", "append", "delete"])
def test_a_server_that_stays_away_is_one_sentence_and_nothing_is_lost(name, running, place, monkeypatch):
    work, after = WORKS[name]
    count = calls_of(work, place, monkeypatch)
    for at in np.unique(np.linspace(1, count, 5).astype(int)).tolist():
        address = place().replace("timeout=30", "timeout=0.4")
        store = old_bank(address)
        with monkeypatch.context() as patched:
            counted(patched, at, running.kill)
            with pytest.raises(ConnectionError, match=r"did not answer for 0\.4 seconds; see that it runs"):
                work(store)
        running.start()
        patient = MilvusStore(as_address(address.replace("0.4", "30")))
        assert holds(patient, OLD) or holds(patient, after)
        if holds(patient, OLD):
            work(patient)
        assert holds(patient, after)
        cleans_up(patient, name)
        assert is_clean(patient)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.3])
def test_a_server_that_is_killed_at_any_instant_of_a_build(delay, running, place):
    """The kill falls into a call, so that its answer is lost; the call is made again and doubles nothing."""
    wide = MemoryBank.from_embeddings(embeddings(3000, seed=9), ["other"] * 3000)
    store = old_bank(place())

    def restarted():
        time.sleep(delay)
        running.kill()
        running.start()

    thread = threading.Thread(target=restarted)
    thread.start()
    wide.save(store)
    thread.join()
    assert holds(store, wide)
    assert is_clean(store)


def test_a_search_waits_for_a_server_that_is_started_again(running, place):
    address = place()
    OLD.save(address)
    bank = MemoryBank.open(address)
    running.kill()
    starter = threading.Timer(0.5, running.start)
    starter.start()
    assert torch.equal(bank.search(embeddings(3, seed=4), 5).indices, OLD.search(embeddings(3, seed=4), 5).indices)
    starter.join()
    running.kill()
    hasty = MilvusStore(as_address(address.replace("timeout=30", "timeout=0.3")))
    with pytest.raises(ConnectionError, match=r"did not answer for 0\.3 seconds"):
        hasty.open()
    running.start()


def test_a_build_goes_on_from_what_is_there_and_from_no_other(place):
    store = MilvusStore(as_address(place()))
    settings = Settings(CHANNELS, "float32", "cosine", "e", "p")
    rows = embeddings(1300)
    writer = store.writer(settings, False, 1300).__enter__()
    for start in range(0, 1200, 100):
        writer.add(rows[start : start + 100])
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(FileNotFoundError, match="holds a build that is not whole; resume it"):
        store.open()
    with pytest.raises(Mistake, match=r"the unfinished build in .* has encoder 'e', but 'f' is asked for"):
        store.writer(settings._replace(encoder="f"), True, 0).__enter__()
    with pytest.raises(Mistake, match=rf"the unfinished build in .* has channels {CHANNELS}, but 5 is asked for"):
        store.writer(settings._replace(channels=5), True, 0).__enter__()
    with store.writer(settings, True, 1300) as writer:
        assert writer.rows == 1200
        assert writer.kept_rows()["id"].to_pylist() == list(range(1200))
        writer.add(rows[writer.rows :])
    assert torch.equal(store.open().rows.read(0, 1300), torch.from_numpy(rows))
    assert is_clean(store)


def test_two_writers_do_not_mix(place):
    address = place()
    store, other = old_bank(address), MilvusStore(as_address(address))

    def meanwhile(bank):
        other.change(lambda there: appended(there, embeddings(2, seed=6), None, ["b"] * 2))
        return appended(bank, embeddings(2, seed=5), None, ["a"] * 2)

    with pytest.raises(Busy, match="another process began to write the bank"):
        store.change(meanwhile)
    expected = OLD.append(embeddings(2, seed=6), ["b"] * 2)
    assert holds(store, expected)
    work, _ = WORKS["delete"]
    work(store)
    assert holds(store, expected.delete([3, 4, 29]))
    assert is_clean(store)


def test_rows_that_a_stopped_writer_writes_late_are_not_the_banks(place):
    store = old_bank(place())
    collection = store._collection()
    claim = store._claimed(collection)  # a writer that is stopped here
    store.change(lambda bank: deleted(bank, [0]))
    entity = collection.query("row == 5", ("*",))[0]
    collection.call("upsert", data=[{**entity, "pk": claim.until, "since": claim.since, "row": 77}])
    assert holds(store, OLD.delete([0]))
    store.change(lambda bank: appended(bank, embeddings(1, seed=8), None, ["old"]))
    assert holds(store, OLD.delete([0]).append(embeddings(1, seed=8), ["old"]))
