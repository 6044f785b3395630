"""Addresses of banks on a server, and what is refused before a server is asked."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from episodes.errors import MissingPackage, Mistake
from fsl_explain.similarities import SIMILARITIES, euclidean
from retrieval_explain import MemoryBank
from retrieval_explain.bank_address import Address, as_address, as_place, is_address
from retrieval_explain.cli.app import run
from retrieval_explain.milvus.record import Made, Record, read_text, text_of
from retrieval_explain.settings import BankData

NOWHERE = "milvus://127.0.0.1:1/birds?timeout=0.2"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("milvus://host:19531/birds", Address("host", 19531, "", "birds")),
        ("milvus://host/birds", Address("host", 19530, "", "birds")),
        ("milvus://host/zoo/birds_2", Address("host", 19530, "zoo", "birds_2")),
        ("milvus+tls://host:1/birds?timeout=2.5", Address("host", 1, "", "birds", encrypted=True)),
        ("milvus://[::1]:7/birds", Address("::1", 7, "", "birds")),
    ],
)
def test_addresses_are_read_and_written(text, address):
    assert as_address(text) == address == as_address(str(address))
    assert is_address(text)
    assert as_place(text) == address
    assert as_address(text).timeout == (2.5 if "timeout" in text else 30)
    assert as_address(text).server.startswith("https://" if address.encrypted else "http://")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("milvus://host:x/birds", "port is no number"),
        ("milvus://host", "a collection has a name of letters"),
        ("milvus://host/a/b/c", "a collection has a name of letters"),
        ("milvus://host/two words", "a collection has a name of letters"),
        ("milvus+http://host/birds", "scheme is none of"),
        ("milvus://host/birds?timeout=soon", "timeout=SECONDS alone"),
        ("milvus://host/birds?timeout=0", "timeout=SECONDS alone"),
        ("milvus://host/birds?user=me", "timeout=SECONDS alone"),
        ("milvus://me:secret@host/birds", "MILVUS_TOKEN"),
        ("milvus://[::1/birds", "its host is none"),
        ("milvus://host/birds#2", "# has no meaning in it"),
        ("milvus:///data/file.db/birds", "names no server; for a local file start milvus-lite server"),
    ],
)
def test_other_addresses_are_refused_in_one_sentence(text, why):
    with pytest.raises(Mistake, match=why):
        as_address(text)
    with pytest.raises(Mistake, match=why):
        MemoryBank.open(text)


def test_anything_else_is_a_folder(tmp_path):
    for text in ("bank", "C:/bank", "milvus/bank", "./milvus:/x"):
        assert as_place(text) == Path(text)
    assert as_place(tmp_path) == tmp_path
    assert BankData(kind="bank", directory="bank").directory == Path("bank")
    assert BankData(kind="bank", directory="milvus://host/birds").directory == "milvus://host:19530/birds"
    patient = BankData(kind="bank", directory="milvus://host/birds?timeout=90")
    assert as_address(patient.directory).timeout == 90
    with pytest.raises(ValueError, match="a collection has a name"):
        BankData(kind="bank", directory="milvus://host/bad name")


def test_local_features_of_a_bank_on_a_server_are_refused(capsys):
    assert run(["local-features", "--bank", NOWHERE]) == 2
    said = capsys.readouterr().err
    assert "local features lie in the folder of a bank, but milvus://127.0.0.1:1/birds is on a server" in said


def test_a_server_that_is_away_is_one_sentence(capsys):
    sentence = r"the Milvus server at 127.0.0.1:1 did not answer for 0.2 seconds; see that it runs"
    with pytest.raises(ConnectionError, match=sentence):
        MemoryBank.open(NOWHERE)
    assert run(["audit", "--bank", NOWHERE]) == 2
    assert capsys.readouterr().err.count("did not answer for 0.2 seconds") == 1


def test_the_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(
        MissingPackage, match=r"needs pymilvus, not installed here; run: pip install 'fsl-explain\[milvus\]'"
    ):
        MemoryBank.open(NOWHERE)


def test_what_a_server_does_not_take_is_refused_first():
    bank = MemoryBank.from_embeddings(np.eye(3, dtype=np.float32))
    with pytest.raises(Mistake, match="expected dtype float32 for a bank on a Milvus server, but got float16"):
        bank.save(NOWHERE, dtype="float16")

    four = ("pairwise", "contributions", "form", "prototype_weights")
    SIMILARITIES["alone"] = SimpleNamespace(**{name: getattr(euclidean, name) for name in four})
    try:
        with pytest.raises(Mistake, match="inner product or a distance, for a bank on a Milvus server, but alone"):
            MemoryBank.from_embeddings(np.eye(3, dtype=np.float32), similarity="alone").save(NOWHERE)
    finally:
        del SIMILARITIES["alone"]


def test_the_workbench_is_of_folders(capsys):
    assert run(["serve", "--bank", NOWHERE]) == 2
    assert "expected the folder of a bank to serve" in capsys.readouterr().err


def test_a_record_is_read_as_it_was_written_and_nothing_else_is():
    made = Made(channels=3, similarity="cosine", encoder="e", preprocessing="p")
    record = Record(made=made, since=4, rows=2, digest=2**63 - 1, next=9, largest=1.5, numbered=False, skipped=(2, 3))
    assert read_text(Record, text_of(record), "birds") == record
    with pytest.raises(Mistake, match=r"the collection birds is of another format .* \(rows\)"):
        read_text(Record, text_of(record).replace('"rows":2', '"rows":"2"'), "birds")
    with pytest.raises(Mistake, match="of at most 65535 bytes"):
        text_of(made.model_copy(update={"encoder": "e" * 70_000}))
