"""Neighbors by any similarity equal its own ``pairwise`` in float64, sorted: in memory, on disk, filtered, indexed."""

import numpy as np
import pytest
import torch
from decision_parts import random_precision
from guide_similarity import Correlation, CorrelationWithTraits

from fsl_explain.similarities import SIMILARITIES, Mahalanobis, named_similarity, similarity_name, traits_of
from retrieval_explain import MemoryBank
from retrieval_explain.audit.label_audit import audit
from retrieval_explain.search import exact_search as searched
from retrieval_explain.settings import INDEX_KINDS

CHANNELS, COUNT, K = 6, 400, 25
EVERY = {name: name for name in SIMILARITIES} | {
    "correlation": Correlation(),
    "correlation with traits": CorrelationWithTraits(),
    "mahalanobis": Mahalanobis(random_precision(CHANNELS)),
}
FILTERS = {
    "none": ({}, lambda row: True),
    "classes": ({"classes": ["elm"]}, lambda row: row % 3 == 1),
    "ids": ({"ids": range(1000, 1090)}, lambda row: row < 90),
    "without": ({"without": torch.arange(200)}, lambda row: row >= 200),
}

every_similarity = pytest.mark.parametrize("similarity", EVERY.values(), ids=EVERY)


def values(rows, seed):
    """Lengths differ, the origin is aside, and every eighth row stands twice."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(rows, CHANNELS, generator=generator) * (0.2 + torch.rand(rows, 1, generator=generator)) + 0.3
    drawn[1::8] = drawn[::8][: len(drawn[1::8])]
    return drawn


@pytest.fixture(params=["memory", "float32", "float16"])
def bank(request, similarity, tmp_path):
    labels, ids = (["oak", "elm", "ash"] * COUNT)[:COUNT], range(1000, 1000 + COUNT)
    if request.param == "memory":
        return MemoryBank.from_embeddings(values(COUNT, 0), labels, similarity=similarity, ids=ids)
    stored = similarity if isinstance(similarity, str) else "inner-product"
    made = MemoryBank.from_embeddings(values(COUNT, 0), labels, similarity=stored, ids=ids)
    made.save(tmp_path / "bank", dtype=request.param)
    return MemoryBank.load(tmp_path / "bank", similarity=None if isinstance(similarity, str) else similarity)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(searched, "FIRST_BLOCK_ROWS", 16)
    monkeypatch.setattr(searched, "BLOCK_VALUES", 50 * CHANNELS)
    monkeypatch.setattr(searched, "BLOCK_VALUES_IN_FLOAT64", 50 * CHANNELS)


def by_brute_force(bank, queries, similarity, is_allowed, own=None):
    """All allowed rows of each query, by similarity and then by number; what differs by rounding alone is equal."""
    rows = bank.rows.read(0, COUNT).double()
    scores = named_similarity(similarity).pairwise(queries.double(), rows).numpy()
    orders = []
    for query, line in enumerate(scores):
        allowed = [row for row in range(COUNT) if is_allowed(row) and (own is None or row != own[query])]
        orders.append(sorted(allowed, key=lambda row: (-round(float(line[row]), 9), row)))
    return orders, scores


@every_similarity
@pytest.mark.parametrize("chosen", FILTERS)
def test_an_exhaustive_search_equals_brute_force(bank, similarity, chosen, small_blocks):
    question, is_allowed = FILTERS[chosen]
    queries = torch.cat([values(5, 1), bank.rows.read(8, 10)])
    orders, scores = by_brute_force(bank, queries, similarity, is_allowed)
    found = bank.search(queries, K, **question)
    assert found.indices.tolist() == [order[:K] for order in orders]
    np.testing.assert_allclose(found.similarities, np.take_along_axis(scores, found.indices.numpy(), 1), atol=1e-9)


@every_similarity
def test_no_row_is_its_own_neighbor_where_it_is_left_out(bank, similarity, small_blocks):
    own = torch.tensor([8, 9, 399])
    queries = bank.rows.take(own)
    orders, _ = by_brute_force(bank, queries, similarity, lambda row: True, own.tolist())
    assert bank.search(queries, K, leave_out=own).indices.tolist() == [order[:K] for order in orders]


@every_similarity
@pytest.mark.parametrize("kind", INDEX_KINDS)
def test_an_index_finds_what_it_says_or_is_refused(bank, similarity, kind):
    queries = values(20, 2)
    orders, scores = by_brute_force(bank, queries, similarity, lambda row: True)
    if kind != "flat" and traits_of(named_similarity(similarity)).transform is None:
        with pytest.raises(ValueError, match="is an inner product or a distance, for an index, but Correlation does"):
            bank.indexed(kind, k=K)
        return
    quick = bank.indexed(kind, k=K)
    found = quick.search(queries, K)
    assert quick.verified.reached
    shared = [len({*line} & {*order[:K]}) for line, order in zip(found.indices.tolist(), orders, strict=True)]
    assert np.mean(shared) >= (K if kind == "flat" else 0.9 * K)
    np.testing.assert_allclose(found.similarities, np.take_along_axis(scores, found.indices.numpy(), 1), atol=1e-9)


def test_equal_rows_come_by_their_number_wherever_they_stand(small_blocks):
    rows = values(COUNT, 3)
    rows[torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:300]] = rows[0].clone()
    alike = (rows == rows[0]).all(dim=1).nonzero()[:, 0].tolist()
    for similarity in EVERY.values():
        bank = MemoryBank.from_embeddings(rows, similarity=similarity)
        orders, _ = by_brute_force(bank, rows[:1], similarity, lambda row: True)
        assert bank.search(rows[:1], 60).indices.tolist() == [orders[0][:60]], similarity
        place = orders[0].index(alike[0])
        assert orders[0][place : place + len(alike)] == alike


def test_a_similarity_that_is_not_finite_is_refused():
    class Broken(Correlation):
        def pairwise(self, query, gallery):
            return super().pairwise(query, gallery).masked_fill(gallery[..., 0] > 1.5, torch.nan)

    rows = values(COUNT, 0)
    rows[70, 0] = 2.0
    first = int((rows[:, 0] > 1.5).nonzero()[0, 0])
    bank = MemoryBank.from_embeddings(rows, similarity=Broken())
    with pytest.raises(ValueError, match=f"expected similarities that are finite, but that of row {first} to a query"):
        bank.search(rows[:2], 3)


def test_a_similarity_with_a_name_is_stored_and_one_without_is_refused(tmp_path, monkeypatch):
    similarity = Correlation()
    bank = MemoryBank.from_embeddings(values(COUNT, 0), similarity=similarity)
    with pytest.raises(ValueError, match=r"a similarity with a name for a bank on disk, but this Correlation has none"):
        bank.save(tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    with monkeypatch.context() as registered:
        registered.setitem(SIMILARITIES, "correlation", similarity)
        assert similarity_name(similarity) == "correlation"
        named = MemoryBank.from_embeddings(values(COUNT, 0), similarity=similarity)
        assert named.similarity == "correlation"
        named.save(tmp_path / "bank")
        found = MemoryBank.load(tmp_path / "bank").search(values(4, 1), K)
        assert torch.equal(found.indices, bank.search(values(4, 1), K).indices)
    with pytest.raises(LookupError, match=r"was built with the similarity 'correlation', but here are only cosine"):
        MemoryBank.load(tmp_path / "bank")
    again = MemoryBank.load(tmp_path / "bank", similarity=similarity).search(values(4, 1), K)
    assert torch.equal(again.indices, found.indices)


def test_rows_without_the_similarity_that_is_loaded_are_named(tmp_path):
    rows = values(COUNT, 0)
    rows[300] = 0
    MemoryBank.from_embeddings(rows, similarity="euclidean").save(tmp_path / "bank")
    with pytest.raises(ValueError, match="1 of 400 embeddings are zero or not finite, first row 300; they have no cos"):
        MemoryBank.load(tmp_path / "bank", similarity="cosine")


def test_an_index_of_another_similarity_is_not_kept_beside_the_bank(tmp_path):
    """It would be taken for one of the bank's own."""
    MemoryBank.from_embeddings(values(COUNT, 0)).save(tmp_path / "bank")
    for other in ("euclidean", EVERY["mahalanobis"]):
        loaded = MemoryBank.load(tmp_path / "bank", similarity=other)
        assert loaded.indexed("ivf", k=K).verified.reached
        assert not list((tmp_path / "bank").rglob("*.faiss"))
    MemoryBank.load(tmp_path / "bank").indexed("ivf", k=K)
    assert list((tmp_path / "bank").rglob("*.faiss"))


@every_similarity
def test_an_audit_compares_by_the_similarity_of_the_bank(similarity):
    rows = values(60, 0)
    bank = MemoryBank.from_embeddings(rows, ["oak", "elm"] * 30, similarity=similarity)
    scores = named_similarity(similarity).pairwise(rows.double(), rows.double()).fill_diagonal_(-torch.inf)
    found = audit(bank, 5).neighbors.similarities
    torch.testing.assert_close(found, scores.sort(descending=True).values[:, :5], rtol=1e-9, atol=1e-9)
