"""The exact rank of any row of a bank, however far down it stands: every row that may come back is compared."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.similarities import Similarity, named_similarity
from retrieval_explain.ranking.neighbors import Rows, blocks, similarities_to

ROWS_AT_A_TIME = 16384
NEAR = 1e-9  # of two similarities, relative to the larger, that are compared again as a search compares them


def similarities_to_all(
    query: Float[Tensor, "channel"],
    rows: Rows,
    similarity: str | Similarity,
    allowed: Bool[Tensor, "row"] | None = None,
) -> Float[Tensor, "row"]:
    """Return the similarity to every row, in float64; minus infinity where a row is not ``allowed``."""
    compared = named_similarity(similarity)
    found = torch.cat(
        [
            compared.pairwise(query[None].double(), block.double())[0]
            for _, block in blocks(rows, max(1, ROWS_AT_A_TIME * 64 // max(64, rows.shape[1])))
        ]
    )
    return found if allowed is None else found.masked_fill(~allowed, -torch.inf)


def rows_ahead(
    query: Float[Tensor, "channel"],
    rows: Rows,
    similarity: str | Similarity,
    row: int,
    allowed: Bool[Tensor, "row"] | None = None,
) -> Int[Tensor, "ahead"]:
    """Return the rows that come back before a row, the nearest first; its rank is their number plus one.

    The order is that of a search: the more similar first, the lower row among equals.
    """
    found = similarities_to_all(query, rows, similarity, allowed)
    ahead = _ahead(found, query, rows, similarity, row).nonzero()[:, 0]
    return ahead[found[ahead].argsort(descending=True, stable=True)]


def ranks_of(
    query: Float[Tensor, "channel"],
    rows: Rows,
    similarity: str | Similarity,
    wanted: Sequence[int],
    allowed: Bool[Tensor, "row"] | None = None,
) -> list[int]:
    """Return the rank, from 1, of each of some rows, from one pass over the bank; the order is that of a search."""
    found = similarities_to_all(query, rows, similarity, allowed)
    return [int(_ahead(found, query, rows, similarity, row).sum()) + 1 for row in wanted]


def _ahead(
    found: Float[Tensor, "row"], query: Float[Tensor, "channel"], rows: Rows, similarity: str | Similarity, row: int
) -> Bool[Tensor, "row"]:
    """Mark the rows that come back before a row; those near it in ``found`` are compared again, as a search does."""
    mine = found[row]
    near = ((found - mine).abs() <= NEAR * mine.abs().clamp(min=1e-300)).nonzero()[:, 0]
    # One pair at a time, so that equal rows get equal numbers wherever they stand.
    found[near] = similarities_to(query[None], rows, near[None], similarity)[0]
    mine = found[row]
    return (found > mine) | ((found == mine) & (torch.arange(len(found)) < row))
