"""Embeddings and queries as users have them: arrays and lists are taken, anything else is one sentence."""

import jaxtyping
import numpy as np
import pytest
import torch

from retrieval_explain import MemoryBank


@pytest.fixture
def rows():
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "given",
    [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.double, lambda rows: rows.numpy().astype(np.float64)],
)
def test_arrays_and_lists_are_searched_as_tensors_are(rows, given):
    expected = MemoryBank.from_embeddings(rows).search(rows, k=3)
    found = MemoryBank.from_embeddings(given(rows)).search(given(rows), k=3)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.similarities, expected.similarities)
    assert MemoryBank.from_embeddings(given(rows)).search(given(rows[0]), k=3).indices.shape == (3,)


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ("abc", "a str"),
        (None, "a NoneType"),
        ([[1.0], [1.0, 2.0]], "a list"),
        ([["a"] * 8], "a list"),
        (torch.ones(2, 8).bool(), r"one of torch.bool and shape \(2, 8\)"),
        (np.ones((2, 8), dtype=complex), "one of complex128"),
    ],
)
def test_what_is_no_embedding_is_one_sentence(rows, values, got, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    bank = MemoryBank.from_embeddings(rows)
    with pytest.raises(TypeError, match=rf"expected queries as a tensor or an array .* but got {got}.*; use"):
        bank.search(values)
    with pytest.raises(TypeError, match=rf"expected embeddings as a tensor or an array .* but got {got}"):
        MemoryBank.from_embeddings(values)


@pytest.mark.parametrize("k", [0, -3])
def test_no_neighbors_at_all_are_not_asked_for(rows, k):
    with pytest.raises(ValueError, match=rf"asked for {k} neighbors, but it takes at least 1; raise k"):
        MemoryBank.from_embeddings(rows).search(rows, k=k)


@pytest.mark.parametrize("k", [True, 2.0, "2"])
def test_a_number_of_neighbors_is_whole(rows, k, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match="expected a whole number of neighbors, but got k="):
        MemoryBank.from_embeddings(rows).search(rows, k=k)
