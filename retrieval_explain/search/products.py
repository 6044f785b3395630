"""Inner products of queries with many rows, by the kernel that reads the rows fastest for so many queries.

One query costs what it takes to read the rows once: a product of a matrix and a vector reaches that, one of matrices
does not.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss as typed_faiss
import torch
from jaxtyping import Float, Int
from torch import Tensor

faiss: Any = typed_faiss  # its stubs do not know this kernel
FEW_QUERIES = 8
ROWS_A_THREAD = 2**13


def rounding(channels: int) -> float:
    """Return by how much a float32 inner product may be off, over the norms of its sides; see ``exact_search``."""
    return (channels + 8) * 2.0**-23


def inner_products(
    queries: Float[Tensor, "query channel"], block: Float[Tensor, "row channel"]
) -> Float[Tensor, "query row"]:
    """Return the inner product of every query with every row, in any order of summation."""
    if queries.device.type == "cpu":
        if len(queries) == 1:
            return torch.mv(block, queries[0])[None]
        if len(queries) <= FEW_QUERIES:
            return (block @ queries.mT).mT
    return queries @ block.mT


def can_pick(block: Float[Tensor, "row channel"]) -> bool:
    """Return whether ``inner_products_at`` knows such rows."""
    return block.device.type == "cpu" and block.dtype == torch.float32 and block.is_contiguous()


def inner_products_at(
    query: Float[Tensor, "channel"], block: Float[Tensor, "row channel"], positions: Int[Tensor, "chosen"]
) -> Float[Tensor, "1 chosen"]:
    """Return the inner product of one query with some of the rows, which are read where they are and not gathered.

    ``block`` must be one that ``can_pick`` knows.
    """
    asked, products = query.contiguous(), torch.empty(1, len(positions))

    def fill(start: int, stop: int) -> None:
        pointers = (
            faiss.swig_ptr(part.numpy()) for part in (products[0, start:stop], asked, block, positions[start:stop])
        )
        faiss.fvec_inner_products_by_idx(*pointers, block.shape[1], 1, stop - start)

    threads = max(1, min(torch.get_num_threads(), len(positions) // ROWS_A_THREAD))
    edges = [len(positions) * part // threads for part in range(threads + 1)]
    if threads == 1:
        fill(0, len(positions))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, edges[:-1], edges[1:]))
    return products
