"""Rows are added, deleted, given another embedding or label; in memory and on disk alike, whole or not at all."""

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run

ROWS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
MORE = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
NAMES = ["tern", "wren", None, "tern", "wren", "jay", "jay", "tern"]
PATHS = [f"{number}.png" for number in range(8)]


@pytest.fixture(params=["memory", "disk"])
def bank(request, tmp_path):
    made = MemoryBank.from_embeddings(ROWS, NAMES, paths=PATHS, ids=range(10, 18))
    if request.param == "memory":
        return made
    made.save(tmp_path / "bank")
    return MemoryBank.load(tmp_path / "bank")


def content(bank):
    names = [bank.classes[label] if label >= 0 else None for label in bank.labels.tolist()]
    rows = bank.rows.read(0, len(bank))
    return list(zip(bank.ids.tolist(), names, list(bank.paths), [tuple(row) for row in rows.tolist()], strict=True))


def test_what_is_deleted_is_found_no_more_and_the_others_keep_their_places(bank):
    expected = [row for row in content(bank) if row[0] not in (12, 17)]
    left = bank.delete([17, 12])
    assert content(left) == expected
    assert left.search(ROWS[2], k=6).indices.shape == (6,)
    assert not {12, 17} & set(left.ids[left.search(ROWS, k=6).indices].flatten().tolist())


def test_a_bank_that_was_emptied_takes_rows_again(bank):
    filled = bank.delete(range(10, 18)).append(MORE, ["owl", None, "tern"], ids=[4, 5, 6])
    assert [row[:3] for row in content(filled)] == [(4, "owl", ""), (5, None, ""), (6, "tern", "")]
    assert filled.search(MORE, k=1).indices.flatten().tolist() == [0, 1, 2]


def test_what_is_added_goes_on_from_the_largest_id(bank):
    grown = bank.append(MORE.numpy(), ["owl", None, "tern"], paths=["a.png", None, "c.png"])
    assert content(grown)[:8] == content(MemoryBank.from_embeddings(ROWS, NAMES, paths=PATHS, ids=range(10, 18)))
    assert [row[:3] for row in content(grown)[8:]] == [(18, "owl", "a.png"), (19, None, ""), (20, "tern", "c.png")]
    assert grown.search(MORE, k=1).indices.flatten().tolist() == [8, 9, 10]


def test_a_label_of_minus_one_is_none(bank):
    assert bank.append(MORE[:1], [-1]).labels.tolist()[-1] == -1
    assert bank.update([10], labels=[-1]).classes == ("jay", "tern", "wren")


def test_an_update_changes_what_is_given_and_nothing_else(bank):
    before = content(bank)
    renamed = bank.update([15, 10], labels=["owl", "owl"])
    assert [row[1] for row in content(renamed)] == ["owl", "wren", None, "tern", "wren", "owl", "jay", "tern"]
    assert [row[::2] for row in content(renamed)] == [row[::2] for row in before]
    moved = renamed.update([11], MORE[:1], paths=["new.png"])
    assert content(moved)[1] == (11, "wren", "new.png", tuple(MORE[0].tolist()))
    assert moved.search(MORE[:1], k=1).indices.item() == 1


@pytest.mark.parametrize("labels", [[3, 1, None, 3, 1, 2, 2, 3], None])
def test_labels_that_are_numbers_stay_numbers(tmp_path, labels):
    bank = MemoryBank.from_embeddings(ROWS, labels)
    bank.save(tmp_path / "bank")
    for one in (bank, MemoryBank.load(tmp_path / "bank")):
        left = one.delete([1])
        assert left.classes == ()
        assert left.labels.tolist() == [
            -1 if labels is None or labels[i] is None else labels[i] for i in range(8) if i != 1
        ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda bank: bank.delete([99]), r"no image with id 99 to delete; the nearest are 15, 16, 17"),
        (lambda bank: bank.update([99], labels=["owl"]), r"no image with id 99 to update"),
        (lambda bank: bank.update([10, 10], labels=["a", "b"]), "expected each id once, but got 2 ids of 1 images"),
        (lambda bank: bank.update([10], MORE), "expected one embedding for each of 1 ids, but got 3"),
        (lambda bank: bank.append(torch.zeros(1, 4)), "zero or not finite"),
        (lambda bank: bank.append(torch.ones(1, 5)), r"expected embeddings of shape \(rows, 4\), but got \(1, 5\)"),
        (lambda bank: bank.append(MORE, ids=[10, 30, 31]), "10"),
        (lambda bank: bank.append(MORE[:1], [3]), "labels that are names, as those of the bank are, but got 3"),
        (lambda bank: bank.update([10], labels=[True]), "labels that are names, or whole numbers .* but got True"),
        (lambda bank: bank.update([10], labels="x"), "expected labels as a list of names or numbers"),
    ],
)
def test_a_change_that_cannot_be_made_leaves_the_bank_as_it_was(bank, change, sentence):
    before = content(bank)
    with pytest.raises(ValueError, match=sentence):
        change(bank)
    again = bank if bank.directory is None else MemoryBank.load(bank.directory)
    assert content(again) == before


def test_the_command_removes_by_id_class_and_missing_file(tmp_path, capsys):
    paths = [str(tmp_path / f"{number}.png") for number in range(8)]
    for path in paths[:6]:
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    MemoryBank.from_embeddings(ROWS, NAMES, paths=paths).save(tmp_path / "bank")
    where = ["remove", "--bank", str(tmp_path / "bank")]
    assert run([*where, "--missing"]) == 0
    assert "2 images removed, 6 left." in capsys.readouterr().out
    assert run([*where, "--missing"]) == 0
    assert "Nothing removed" in capsys.readouterr().out
    assert run([*where, "--class", "wren", "--id", "2"]) == 0
    assert MemoryBank.load(tmp_path / "bank").ids.tolist() == [0, 3, 5]
    for wrong, sentence in (
        ((), "give --id, --class or --missing"),
        (("--id", "77"), "77"),
        (("--class", "ten"), "'tern'"),
        (("--class", "tern", "--class", "jay"), "but all were named"),
    ):
        assert run([*where, *wrong]) == 2
        assert sentence in capsys.readouterr().err
    assert len(MemoryBank.load(tmp_path / "bank")) == 3
