"""Inner products of queries with many rows, by the kernel that reads the rows fastest for so many queries.

One query costs what it takes to read the rows once; a product of matrices of one line does not reach that.
"""

from typing import Any

import faiss as typed_faiss
import torch
from jaxtyping import Float
from torch import Tensor

faiss: Any = typed_faiss  # its stubs do not know this kernel
FEW_QUERIES = 8


def rounding(channels: int) -> float:
    """Return by how much a float32 inner product may be off, over the norms of its sides; see ``exact_search``."""
    return (channels + 8) * 2.0**-23


def inner_products(
    queries: Float[Tensor, "query channel"], block: Float[Tensor, "row channel"]
) -> Float[Tensor, "query row"]:
    """Return the inner product of every query with every row, in any order of summation."""
    if len(queries) > FEW_QUERIES or queries.device.type != "cpu":
        return queries @ block.mT
    if len(queries) > 1:
        return (block @ queries.mT).mT
    if torch.get_num_threads() > 1 or block.dtype != torch.float32 or not block.is_contiguous():
        return (block @ queries.expand(2, -1).mT).mT[:1]  # twice is faster than once
    return _of_one(queries[0], block)


def _of_one(query: Float[Tensor, "channel"], block: Float[Tensor, "row channel"]) -> Float[Tensor, "1 row"]:
    given, rows, products = query.contiguous().numpy(), block.numpy(), torch.empty(1, len(block))
    faiss.fvec_inner_products_ny(
        faiss.swig_ptr(products.numpy()), faiss.swig_ptr(given), faiss.swig_ptr(rows), rows.shape[1], len(rows)
    )
    return products
