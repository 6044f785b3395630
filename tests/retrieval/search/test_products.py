"""Whatever kernel computes them, inner products of queries and rows are true up to float32's rounding."""

import pytest
import torch

from retrieval_explain.search.products import FEW_QUERIES, inner_products


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
