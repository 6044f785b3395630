"""The exact search equals a comparison of every pair in float64, whatever float32 makes of it."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from fsl_explain.similarities import SIMILARITIES
from retrieval_explain.ranking.neighbors import RowsInMemory
from retrieval_explain.search import candidates
from retrieval_explain.search import exact_search as searched
from retrieval_explain.search.exact_search import exact_search

METRICS = ["cosine", "inner-product", "euclidean"]


@dataclass(frozen=True)
class WatchedRows:
    """Rows that note what is read of them."""

    embeddings: torch.Tensor
    read_spans: list = field(default_factory=list, hash=False)
    taken: list = field(default_factory=list, hash=False)

    @property
    def shape(self):
        return self.embeddings.shape[0], self.embeddings.shape[1]

    def read(self, start, stop):
        self.read_spans.append((start, stop))
        return self.embeddings[start:stop]

    def take(self, indices):
        self.taken.extend(indices.flatten().tolist())
        return self.embeddings[indices]


@pytest.fixture(params=[1, 3], ids=["one query at a time", "three"])
def blocks_and_queries(request, small_blocks, monkeypatch):
    """The same small blocks, of 40 rows each where queries come alone."""
    monkeypatch.setattr(searched, "QUERIES_TOGETHER", request.param)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 8, 16, 32 and then 40 rows of 6 channels."""
    monkeypatch.setattr(searched, "FIRST_BLOCK_ROWS", 8)
    monkeypatch.setattr(searched, "GROWTH", 2)
    monkeypatch.setattr(searched, "BLOCK_VALUES", 240)
    monkeypatch.setattr(candidates, "PRUNED_AT", 50)
    monkeypatch.setattr(candidates, "SEGMENT", 2)
    monkeypatch.setattr(searched, "QUERIES_TOGETHER", 3)


def every_pair(queries, rows, similarity):
    """The similarities one by one, equal for equal rows, whatever their norms."""
    scores = np.empty((len(queries), len(rows)))
    for i, q in enumerate(queries.double().numpy()):
        for j, x in enumerate(rows.double().numpy()):
            if similarity == "cosine":
                scores[i, j] = np.sum(q / np.sqrt(np.sum(q * q)) * (x / np.sqrt(np.sum(x * x))))
            else:
                scores[i, j] = np.sum(q * x) if similarity == "inner-product" else -np.sum((q - x) ** 2)
    return scores


def assert_exact(found, scores, k, scale=1.0):
    """Every claimed score is true, none is repeated, no better one is left out, and equals come by their number."""
    indices = found.indices.numpy()
    tolerance = 1e-12 * scale
    np.testing.assert_allclose(np.take_along_axis(scores, indices, axis=1), found.similarities, atol=tolerance)
    np.testing.assert_allclose(found.similarities, -np.sort(-scores, axis=1)[:, :k], atol=tolerance)
    assert all(len(set(line)) == k for line in indices.tolist())
    same = found.similarities.diff(dim=-1) == 0
    assert (found.indices.diff(dim=-1)[same] > 0).all()


def embeddings(rows, seed, repeated=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, 6, generator=generator)
    if repeated:
        values[torch.randperm(rows, generator=generator)[:repeated]] = values[0].clone()
    return values


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_it_equals_every_pair_compared_in_float64(similarity, seed, blocks_and_queries):
    rows, queries = embeddings(150, seed, repeated=40 * (seed % 2)), embeddings(7, seed + 100)
    queries[0] = rows[0]
    scores = every_pair(queries, rows, similarity)
    for k in (1, 12, 150):
        assert_exact(exact_search(RowsInMemory(rows), queries, similarity, k), scores, k)


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("few", [0, 32])
@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "every other row"])
def test_with_a_filter_it_equals_the_allowed_pairs(similarity, share, few, step, blocks_and_queries, monkeypatch):
    monkeypatch.setattr(searched, "FEW_QUERIES", few)
    rows, queries = embeddings(150, 1, repeated=30).repeat_interleave(step, dim=0)[::step], embeddings(5, 2)
    allowed = torch.rand(150, generator=torch.Generator().manual_seed(3)) < share
    scores = every_pair(queries, rows, similarity)
    scores[:, ~allowed.numpy()] = -np.inf
    for k in (1, int(allowed.sum())):
        found = exact_search(RowsInMemory(rows), queries, similarity, k, allowed)
        assert allowed[found.indices].all()
        assert_exact(found, scores, k)


def test_blocks_in_which_nothing_is_allowed_are_not_read(small_blocks):
    rows = WatchedRows(embeddings(400, 0))
    allowed = torch.zeros(400, dtype=torch.bool)
    allowed[[300, 301, 350]] = True
    assert (
        exact_search(rows, embeddings(2, 1), "cosine", 3, allowed).indices.sort().values.tolist()
        == [[300, 301, 350]] * 2
    )
    assert not rows.read_spans
    assert set(rows.taken) == {300, 301, 350}
    allowed[:20] = True
    exact_search(rows, embeddings(2, 1), "cosine", 3, allowed)
    assert rows.read_spans == [(0, 8), (8, 24)]


def test_norms_are_computed_once_and_kept_no_longer_than_the_rows(monkeypatch):
    rows, queries = RowsInMemory(embeddings(100, 0)), embeddings(3, 1)
    first = exact_search(rows, queries, "cosine", 5)
    counted = []
    norm = torch.linalg.vector_norm
    monkeypatch.setattr(
        torch.linalg, "vector_norm", lambda x, *args, **options: counted.append(x.dtype) or norm(x, *args, **options)
    )
    assert torch.equal(exact_search(rows, queries, "cosine", 5).indices, first.indices)
    assert torch.float32 not in counted
    kept = len(searched._KNOWN_LENGTHS)
    del rows
    assert len(searched._KNOWN_LENGTHS) == kept - 1


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4])
def test_the_bound_on_the_error_holds(similarity, offset):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 300, generator=generator) * torch.rand(500, 1, generator=generator) + offset
    queries = torch.randn(20, 300, generator=generator) + offset
    if similarity == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=-1)
    values, error = searched._bounded(queries, rows, rows.norm(dim=-1), SIMILARITIES[similarity])
    x = torch.nn.functional.normalize(rows.double(), dim=-1) if similarity == "cosine" else rows.double()
    true = queries.double() @ x.T
    if similarity == "euclidean":
        true = 2 * true - x.square().sum(dim=-1)
    assert ((values - true).abs() <= error).all()
    assert (error <= 1e-3 * (1 + true.abs().amax(dim=-1, keepdim=True))).all()


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("exponent", [-30, -20, 15, 30])
def test_embeddings_whose_squares_leave_float32_are_compared_as_well(similarity, exponent, blocks_and_queries):
    rows, queries = embeddings(120, 0), embeddings(4, 1)
    rows[60:] *= 10.0**exponent
    scores = every_pair(queries, rows, similarity)
    scale = max(1.0, np.abs(scores).max())
    assert_exact(exact_search(RowsInMemory(rows), queries, similarity, 70), scores, 70, scale)
    allowed = torch.arange(120) % 3 > 0
    scores[:, ~allowed.numpy()] = -np.inf
    assert_exact(exact_search(RowsInMemory(rows), queries, similarity, 70, allowed), scores, 70, scale)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_matrix_products_of_lower_precision_change_no_neighbor(precision):
    generator = torch.Generator().manual_seed(0)
    rows, queries = torch.randn(3000, 64, generator=generator), torch.randn(40, 64, generator=generator)
    expected = exact_search(RowsInMemory(rows), queries, "cosine", 50)
    set_to = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        found = exact_search(RowsInMemory(rows), queries, "cosine", 50)
    finally:
        torch.set_float32_matmul_precision(set_to)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("queries", [1, 2])
def test_rows_in_the_worst_order_do_not_pile_up(monkeypatch, queries):
    """Every row beats all before it."""
    monkeypatch.setattr(searched, "FIRST_BLOCK_ROWS", 64)
    monkeypatch.setattr(searched, "BLOCK_VALUES", 128)
    monkeypatch.setattr(candidates, "PRUNED_AT", 100)
    most = []
    kind = candidates.CandidatesOfOne if queries == 1 else candidates.Candidates
    add = kind.add
    monkeypatch.setattr(kind, "add", lambda self, *args: (add(self, *args), most.append(self.count))[0])
    rows = torch.stack([torch.arange(2000.0), torch.ones(2000)], dim=1)
    found = exact_search(RowsInMemory(rows), torch.tensor([[1.0, 0.0]] * queries), "inner-product", 5)
    assert found.indices.tolist() == [[1999, 1998, 1997, 1996, 1995]] * queries
    assert max(most) <= 100
    assert len(most) > 20


@pytest.mark.parametrize("count", [1, 5, 40, 63, 64, 200])
@pytest.mark.parametrize("values", ["any", "few different", "rising", "nothing but -inf", "a few beside -inf"])
def test_the_largest_values_are_all_among_the_best(count, values):
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(64 * candidates.SEGMENT + 7, generator=generator)
    if values == "few different":
        given = given.round()
    if values == "rising":
        given = given.sort().values
    if "-inf" in values:
        given[3 * ("beside" in values) :] = -torch.inf
    best, place = candidates._best(given, count)
    assert torch.equal(best, given[place])
    assert len(set(place.tolist())) == len(place) >= count
    torch.testing.assert_close(best.sort(descending=True).values[:count], given.topk(count).values, rtol=0, atol=0)


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("few", [0, 32])
def test_a_row_without_an_order_is_refused_by_its_number_where_it_counts(
    similarity, wrong, few, blocks_and_queries, monkeypatch
):
    monkeypatch.setattr(searched, "FEW_QUERIES", few)
    rows, queries = embeddings(150, 1), embeddings(5, 2)
    rows[[70, 90], 3] = wrong
    allowed = torch.arange(150) % 5 > 0
    without, stored = allowed & rows.isfinite().all(dim=1), RowsInMemory(rows)
    expected = exact_search(RowsInMemory(rows.nan_to_num(0, 0)), queries, similarity, 9, without)
    for _ in range(2):  # norms are kept after the first
        found = exact_search(stored, queries, similarity, 9, without)
        assert torch.equal(found.indices, expected.indices)
    for among in (None, torch.arange(150) % 7 == 0, torch.arange(150) % 7 < 6):
        with pytest.raises(ValueError, match="finite, but that of row 70 to a query is not; leave this row out"):
            exact_search(stored, queries, similarity, 9, among)
    with pytest.raises(ValueError, match="expected similarities that are finite"):
        exact_search(RowsInMemory(embeddings(150, 1)), rows[69:71], similarity, 9, allowed)


@pytest.mark.parametrize("similarity", METRICS)
def test_norms_of_a_block_that_was_read_in_part_are_computed_beside_a_row_without_one(similarity, small_blocks):
    rows, queries = embeddings(80, 1), embeddings(3, 2)
    rows[3] = torch.nan
    stored, place = RowsInMemory(rows), torch.arange(80)
    exact_search(stored, queries, similarity, 2, (place < 8) & (place != 3))  # reads the first block alone
    found = exact_search(stored, queries[:1], similarity, 9, place != 3)
    expected = exact_search(RowsInMemory(rows.nan_to_num(0)), queries[:1], similarity, 9, place != 3)
    assert torch.equal(found.indices, expected.indices)


def test_no_queries_have_no_neighbors():
    found = exact_search(RowsInMemory(embeddings(9, 0)), torch.empty(0, 6), "cosine", 2)
    assert found.indices.shape == found.similarities.shape == (0, 2)


@pytest.mark.parametrize(("k", "allowed"), [(0, None), (9, None), (4, torch.tensor([True] * 3 + [False] * 5))])
def test_more_neighbors_than_there_are_rows_are_refused(k, allowed):
    there_are = 8 if allowed is None else 3
    with pytest.raises(ValueError, match=f"expected k from 1 to {there_are}, the rows to search among, but got {k}"):
        exact_search(RowsInMemory(embeddings(8, 0)), embeddings(2, 1), "cosine", k, allowed)


@pytest.mark.parametrize("similarity", METRICS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("together", [1, 256])
def test_rows_that_float32_cannot_tell_apart_are_in_the_right_order(similarity, count, together, monkeypatch):
    """They lie within rounding of each other and of the bar, which the first block sets by itself."""
    monkeypatch.setattr(searched, "QUERIES_TOGETHER", together)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 64, generator=generator) + 1e-7 * torch.randn(600, 64, generator=generator)
    queries = torch.randn(count, 64, generator=generator)
    assert_exact(exact_search(RowsInMemory(rows), queries, similarity, 40), every_pair(queries, rows, similarity), 40)


def test_one_query_among_rows_of_a_later_block(small_blocks):
    rows, query = embeddings(150, 1), embeddings(1, 2)
    allowed = (torch.arange(150) >= 40) & (torch.arange(150) < 80)
    scores = np.where(allowed, every_pair(query, rows, "cosine"), -np.inf)
    assert_exact(exact_search(RowsInMemory(rows), query, "cosine", 9, allowed), scores, 9)


def test_one_query_is_told_the_largest_error_of_all_blocks(small_blocks):
    """Behind long rows that float32 cannot tell apart come short ones, whose error is smaller by far."""
    generator = torch.Generator().manual_seed(0)
    long = 1e4 * (torch.ones(1, 6) + 1e-6 * torch.randn(40, 6, generator=generator))
    rows, query = torch.cat([long, 0.001 * embeddings(60, 3)]), torch.tensor([[1.0, -1.0, 0.9, -0.9, 0.8, -0.8]])
    scores = every_pair(query, rows, "inner-product")
    for k in range(1, 100):
        assert_exact(exact_search(RowsInMemory(rows), query, "inner-product", k), scores, k, 1e4)
