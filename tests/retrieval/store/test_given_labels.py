"""Labels in any form that says the same are the same; nothing is rounded, and None is no name."""

import jaxtyping
import numpy as np
import pytest
import torch

from episodes.errors import Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.imports.importing import import_embeddings

ROWS = torch.eye(3)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(params=["embeddings", "file", "file to disk"])
def labeled(request, tmp_path):
    """Make a bank of three rows with labels, on each road."""
    np.save(tmp_path / "rows.npy", ROWS.numpy())
    where = tmp_path / "bank" if "disk" in request.param else None
    if request.param == "embeddings":
        return lambda labels: MemoryBank.from_embeddings(ROWS, labels)
    return lambda labels: import_embeddings(tmp_path / "rows.npy", where, labels)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 3],
        (3, 1, 3),
        np.array([3, 1, 3]),
        np.array([3, 1, 3], np.uint8),
        torch.tensor([3, 1, 3]),
        [3.0, 1.0, 3.0],
    ],
)
def test_whole_numbers_are_taken_in_any_form(labeled, labels):
    assert labeled(labels).labels.tolist() == [3, 1, 3]


@pytest.mark.parametrize("label", [10**18, 2**63 - 1, -(2**63)])
def test_the_largest_numbers_are_written_and_read_again(labeled, label, tmp_path):
    labeled([label, 1, None]).save(tmp_path / "again")
    assert MemoryBank.load(tmp_path / "again").labels.tolist() == [label, 1, -1]


@pytest.mark.parametrize("labels", [["a", None, "b"], np.array(["a", None, "b"], object)])
def test_names_with_gaps_keep_their_gaps(labeled, labels):
    made = labeled(labels)
    assert made.classes == ("a", "b")
    assert made.labels.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    "labels",
    [
        [1.5, 2, 3],
        [True, False, True],
        [float("nan")] * 3,
        [[1], [2], [3]],
        [2**70, 1, 2],
        ["a", 1, None],
        [b"a", b"b", b"c"],
        "abc",
        7,
        np.array([True, False, True]),
        torch.tensor([1j, 1, 2]),
    ],
)
def test_anything_else_is_one_sentence(labeled, labels):
    with pytest.raises(Mistake, match=r"^expected labels [^\n]* but got [^\n]*\.$"):
        labeled(labels)
