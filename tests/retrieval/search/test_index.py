"""Neighbors equal brute force, and an index says how much it finds."""

import jaxtyping
import numpy as np
import pytest
import torch

from episodes.errors import Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.ranking.neighbors import RowsInMemory, nearest, scan, similarities_to
from retrieval_explain.search.exact_search import promising
from retrieval_explain.search.index import automatic_settings, build_index, flat, search, widened
from retrieval_explain.search.recall import recall_against, verify
from retrieval_explain.settings import INDEX_KINDS

METRICS = ["cosine", "inner-product", "euclidean"]


def clustered(rows, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(50, channels, generator=generator)
    chosen = torch.randint(0, 50, (rows,), generator=generator)
    return centers[chosen] + 0.7 * torch.randn(rows, channels, generator=generator)


def by_brute_force(queries, rows, similarity, k):
    """Every pair in numpy and float64, sorted by similarity and then by row."""
    q, x = queries.double().numpy(), rows.double().numpy()
    if similarity == "cosine":
        q, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (q, x))
    scores = -((q[:, None] - x[None]) ** 2).sum(-1) if similarity == "euclidean" else q @ x.T
    order = np.lexsort((np.broadcast_to(np.arange(len(x)), scores.shape), -scores), axis=1)[:, :k]
    return order, np.take_along_axis(scores, order, axis=1), scores


def assert_same_up_to_ties(found, scores, expected):
    indices, similarities = found.indices.numpy(), found.similarities.numpy()
    np.testing.assert_allclose(np.take_along_axis(scores, indices, axis=1), similarities, atol=1e-9)
    assert all(len(set(row)) == len(row) for row in indices.tolist())
    np.testing.assert_allclose(similarities, expected, atol=1e-9)


@pytest.mark.parametrize("similarity", METRICS)
def test_the_exact_search_equals_brute_force(similarity):
    rows, queries = clustered(3000, 16), clustered(20, 16, seed=1)
    found = search(flat(similarity), RowsInMemory(rows), queries, 60)
    order, expected, scores = by_brute_force(queries, rows, similarity, 60)
    assert_same_up_to_ties(found, scores, expected)
    assert torch.equal(found.indices, torch.from_numpy(order))


@pytest.mark.parametrize("similarity", METRICS)
def test_many_equal_rows_come_in_the_order_of_their_numbers(similarity):
    """More ties at the last place than there are spare candidates."""
    rows = torch.tensor([[1.0, 0.0]] * 300 + [[0.0, 1.0]] * 300)
    found = search(flat(similarity), RowsInMemory(rows), torch.tensor([[0.0, 2.0]]), 40)
    assert found.indices.tolist() == [list(range(300, 340))]


@pytest.mark.parametrize("similarity", ["inner-product", "euclidean"])
def test_rounding_at_the_last_place_changes_nothing(similarity):
    """Rows far from the origin, whose similarities differ by less than float32 resolves."""
    generator = torch.Generator().manual_seed(0)
    rows = 1000 + 1e-3 * torch.randn(2000, 8, generator=generator)
    queries = (1000 if similarity == "inner-product" else 1e5) + torch.randn(5, 8, generator=generator)
    found = search(flat(similarity), RowsInMemory(rows), queries, 30)
    exact = scan(queries, RowsInMemory(rows), similarity, 30)
    torch.testing.assert_close(found.similarities, exact.similarities, rtol=1e-14, atol=0)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", [kind for kind in INDEX_KINDS if kind != "flat"])
def test_an_index_reaches_the_asked_recall_and_claims_true_similarities(kind, similarity):
    rows, queries = RowsInMemory(clustered(4000, 16)), clustered(20, 16, seed=3)
    verified = verify(build_index(rows, similarity, kind, 100), rows, 100)
    assert verified.recall >= 0.95
    found, exact = search(verified.index, rows, queries, 100), scan(queries, rows, similarity, 100)
    assert recall_against(found, exact).mean() >= 0.9
    _, _, scores = by_brute_force(queries, rows.embeddings, similarity, 100)
    np.testing.assert_allclose(np.take_along_axis(scores, found.indices.numpy(), axis=1), found.similarities, atol=1e-9)
    assert (found.similarities.diff(dim=-1) <= 0).all()
    assert all(len(set(row)) == 100 for row in found.indices.tolist())


def test_a_search_too_narrow_is_widened():
    rows = RowsInMemory(clustered(4000, 16))
    narrow = build_index(rows, "cosine", "ivf", 100)
    narrow.settings["probed"] = 1
    verified = verify(narrow, rows, 100, target=0.99)
    assert verified.index.settings["probed"] > 1
    assert verified.recall >= 0.99
    assert verify(narrow, rows, 100, target=0.0).recall < 0.9
    assert widened(flat("cosine")) is None


def test_settings_follow_from_rows_and_k():
    assert automatic_settings("hnsw", 10**6, 128, 200)["paths"] == 400
    assert automatic_settings("ivf", 10**6, 128, 200)["lists"] == 4000
    assert automatic_settings("ivf-pq", 10**6, 6, 10)["bytes"] == 3
    assert automatic_settings("ivf", 100, 8, 5)["lists"] == 2


def test_absent_candidates_are_never_neighbors():
    indices = torch.tensor([[4, -1, 2, -1]])
    found = nearest(indices, torch.tensor([[-0.5, 9.0, -0.5, 9.0]], dtype=torch.float64), 2)
    assert found.indices.tolist() == [[2, 4]]


@pytest.mark.parametrize("kind", INDEX_KINDS)
def test_a_filtered_search_is_exact_whatever_the_index(kind):
    rows, queries = RowsInMemory(clustered(1500, 16)), clustered(5, 16, seed=4)
    index = build_index(rows, "euclidean", kind, 20)
    allowed = torch.rand(1500, generator=torch.Generator().manual_seed(0)) < 0.3
    found, exact = search(index, rows, queries, 20, allowed), scan(queries, rows, "euclidean", 20, allowed)
    assert torch.equal(found.indices, exact.indices)
    assert allowed[found.indices].all()


@pytest.mark.parametrize("similarity", METRICS)
def test_candidates_that_are_left_out_are_worse_than_k_others(similarity):
    rows, queries = RowsInMemory(clustered(600, 16)), clustered(7, 16, seed=5)
    candidates = torch.stack([torch.randperm(600, generator=torch.Generator().manual_seed(i))[:300] for i in range(7)])
    candidates[2, 100:] = -1
    few = promising(queries, rows, candidates, similarity, 20)
    assert few.shape[1] < 30
    expected = nearest(candidates, similarities_to(queries, rows, candidates, similarity), 20)
    found = nearest(few, similarities_to(queries, rows, few, similarity), 20)
    assert torch.equal(found.indices, expected.indices)
    short = promising(queries, rows, candidates.where(candidates < 3, -1), similarity, 20)
    assert all(set(line) - {-1} <= {0, 1, 2} for line in short.tolist())


def test_a_search_that_finds_too_few_says_so():
    rows = RowsInMemory(clustered(400, 8))
    index = build_index(rows, "cosine", "ivf", 10)
    index.settings["probed"] = 1
    with pytest.raises(ValueError, match="the ivf index found fewer than 390 neighbors; lower k or use the exact"):
        search(index, rows, rows.embeddings[:2], 390)


def test_a_recall_below_the_asked_one_is_said(monkeypatch):
    rows = RowsInMemory(clustered(4000, 16))
    narrow = build_index(rows, "cosine", "ivf", 100)
    narrow.settings["probed"] = 1
    monkeypatch.setattr("retrieval_explain.search.recall.widened", lambda index: None)
    missed = verify(narrow, rows, 100, target=0.95)
    assert not missed.reached
    assert missed.sentence == (f"recall@100 {missed.recall:.3f} on 100 sampled rows, below the 0.95 that was asked for")
    met = verify(narrow, rows, 100, target=0.0)
    assert met.reached
    assert met.sentence == f"recall@100 {met.recall:.3f} on 100 sampled rows"


@pytest.mark.parametrize("rows", [1, 40, 255])
def test_codes_are_not_learned_from_fewer_rows(rows):
    bank = MemoryBank.from_embeddings(clustered(rows, 8))
    with pytest.raises(Mistake, match=rf"at least 256 images for an index ivf-pq, .* has {rows}; use ivf or hnsw"):
        bank.indexed("ivf-pq", k=1)
    for kind in ("ivf", "hnsw"):
        assert bank.indexed(kind, k=1).search(clustered(rows, 8)[:1], 1).indices.tolist() == [[0]]
    assert MemoryBank.from_embeddings(clustered(256, 8)).indexed("ivf-pq", k=1).verified.reached


@pytest.mark.parametrize("similarity", ["euclidean", "inner-product"])
@pytest.mark.parametrize("kind", ["ivf", "ivf-pq", "hnsw"])
def test_numbers_whose_distances_float32_does_not_hold_are_refused_by_an_index(kind, similarity):
    rows = clustered(300, 4)
    rows[7] = 1e25
    bank = MemoryBank.from_embeddings(rows, similarity=similarity)
    with pytest.raises(Mistake, match="1 of 300 embeddings are so large that float32 holds no distance"):
        bank.indexed(kind, k=1)
    quick = MemoryBank.from_embeddings(clustered(300, 4), similarity=similarity).indexed(kind, k=1)
    with pytest.raises(Mistake, match="1 of 1 embeddings are so large"):
        quick.search(torch.full((1, 4), 1e25), 1)
    assert bank.search(rows[7:8], 1).indices.tolist() == [[7]]


@pytest.mark.parametrize("recall", [-0.1, 1.1, float("nan"), float("inf"), True])
def test_a_recall_is_a_share(recall, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(Mistake, match=r"expected a recall from 0 to 1, but got"):
        MemoryBank.from_embeddings(clustered(30, 4)).indexed("ivf", k=1, recall=recall)
