"""Whatever kernel computes them, inner products of queries and rows are true up to float32's rounding."""

import pytest
import torch

from retrieval_explain.search import products
from retrieval_explain.search.products import FEW_QUERIES, can_pick, inner_products, inner_products_at


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, FEW_QUERIES, FEW_QUERIES + 1])
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("layout", ["contiguous", "every other row", "transposed"])
def test_each_query_meets_each_row(count, rows, layout, threads):
    generator = torch.Generator().manual_seed(0)
    queries, block = torch.randn(count, 19, generator=generator), torch.randn(rows, 19, generator=generator)
    if layout == "every other row":
        block = block.repeat_interleave(2, dim=0)[::2]
    if layout == "transposed":
        block, queries = block.T.contiguous().T, queries.T.contiguous().T
    found = inner_products(queries, block)
    torch.testing.assert_close(found.double(), queries.double() @ block.double().T, atol=1e-5, rtol=0)


def test_rows_in_double_precision_stay_so():
    block = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(inner_products(block[:1], block), block[:1] @ block.T, atol=1e-14, rtol=0)


@pytest.mark.parametrize("chosen", [[], [6], [0, 3, 4, 299], list(range(300))], ids=len)
def test_one_query_meets_the_rows_that_are_chosen(chosen, threads, monkeypatch):
    monkeypatch.setattr(products, "ROWS_A_THREAD", 3)
    generator = torch.Generator().manual_seed(0)
    queries, block = torch.randn(2, 19, generator=generator), torch.randn(300, 19, generator=generator)
    assert can_pick(block)
    for query in (queries[0], queries.T.contiguous().T[1]):
        found = inner_products_at(query, block, torch.tensor(chosen, dtype=torch.int64))
        expected = (block[chosen].double() @ query.double())[None]
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_rows_that_cannot_be_picked_where_they_are():
    assert not can_pick(torch.randn(4, 3, dtype=torch.float64))
    assert not can_pick(torch.randn(4, 3).T)
