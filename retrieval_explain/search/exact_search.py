"""The k nearest of all rows: every row is compared in float32, and in float64 where rounding could decide.

A similarity that says how gives each float32 number with a bound on its error. Rows whose upper bound falls short of
the k-th best lower bound are out for certain; the few others are compared again. So the result is that of float64
throughout, ties included, at the speed of one matrix product. Any other similarity is compared in float64 throughout.
Many queries that come one at a time are answered by ``coarse_search``, with the same result.

Notation: |fl(x·y) - x·y| <= (n + 8) u ‖x‖‖y‖ for n channels, whatever the order of summation (Higham, "Accuracy and
Stability of Numerical Algorithms", section 3.1).
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.similarities import InFloat32, Similarity, named_similarity, traits_of
from retrieval_explain.ranking.neighbors import Neighbors, Rows, nearest, similarities_to
from retrieval_explain.search.candidates import candidates_of, in_lines
from retrieval_explain.search.coarse_rows import coarse_search
from retrieval_explain.search.products import can_pick, inner_products, inner_products_at, rounding

QUERIES_TOGETHER = 256
BLOCK_VALUES = 2**26
BLOCK_VALUES_IN_FLOAT64 = 2**23  # of rows that are copied, and compared by code of any kind
PAIRS_TOGETHER = 2**22  # of a query and a row
FIRST_BLOCK_ROWS = 4096  # small, so that all later blocks meet a bar that is high already
GROWTH = 16  # of one block over the one before it, up to ``BLOCK_VALUES``
SAFE_SQUARES = (1e-23, 1e23)  # squared norms between which float32 neither overflows nor loses bits
ROUNDED = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}  # what torch.set_float32_matmul_precision permits
ROUNDED_IN_FLOAT64 = 2.0**-30  # far more than float64 rounds, so that equal rows all stay to be compared one by one
GATHERED_VALUES = 2**20
FEW_QUERIES, SPARSE = 32, 0.25  # a filtered block costs few queries less to compare whole than to gather
UNKNOWN = -1.0
_KNOWN_LENGTHS: WeakKeyDictionary[Rows, Tensor] = WeakKeyDictionary()  # 4 bytes a row


def exact_search(
    rows: Rows,
    queries: Float[Tensor, "query channel"],
    similarity: str | Similarity,
    k: int,
    allowed: Bool[Tensor, "row"] | None = None,
    device: str = "cpu",
) -> Neighbors:
    """Return the k nearest rows of each query, of those that are ``allowed``; ties go to the lower row.

    Blocks in which no row is allowed are not read. The norms of the rows, and a copy in half of their bits where many
    queries come one at a time, are kept as long as ``rows`` lives, whose embeddings must not change. ``device`` is
    where they are compared in float32.

    Raises: ``ValueError`` where fewer than k rows are allowed, or a similarity is not finite.
    """
    there_are = rows.shape[0] if allowed is None else int(allowed.sum())
    if not 1 <= k <= there_are:
        raise Mistake(f"expected k from 1 to {there_are}, the rows to search among, but got {k}; lower k.")
    compared = named_similarity(similarity)
    if len(queries) == 1 and device == "cpu":
        quick = coarse_search(rows, queries, compared, k, allowed, there_are)
        if quick is not None:
            return quick
    parts = queries.split(QUERIES_TOGETHER)
    known = traits_of(compared).in_float32 is not None
    search = _search if known else _search_in_float64
    found = [search(rows, part, compared, k, allowed, device) for part in parts if len(part)]
    if len(found) == 1:
        return found[0]
    return Neighbors(
        torch.cat([part.indices for part in found] or [torch.empty(0, k, dtype=torch.int64)]),
        torch.cat([part.similarities for part in found] or [torch.empty(0, k, dtype=torch.float64)]),
    )


def _search(
    rows: Rows, queries: Tensor, similarity: Similarity, k: int, allowed: Bool[Tensor, "row"] | None, device: str
) -> Neighbors:
    compared = _in_float32(similarity).prepared(queries).to(device)
    candidates = candidates_of(len(queries), k, device)
    for start, stop in _spans(*rows.shape, len(queries), BLOCK_VALUES):
        inside = None if allowed is None else allowed[start:stop]
        if inside is None or inside.any():
            positions, values, error = _block(rows, start, stop, inside, compared, similarity)
            if values.dtype == torch.float64:  # as all are that float32 does not hold
                _check_finite(values, start, positions, inside)
            candidates.add(start, positions, values, error)
    proposed = candidates.table()
    return nearest(proposed, similarities_to(queries, rows, proposed, similarity), k)


def _block(
    rows: Rows, start: int, stop: int, inside: Bool[Tensor, "row"] | None, compared: Tensor, similarity: Similarity
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Compare the rows of a block that are ``inside`` by the quickest of ways.

    Returned are their positions, where they are not all rows, their similarities, and what these may be off by. Rows
    beside them that cost less to compare than to leave out are at -inf.
    """
    device = compared.device
    if inside is None or (len(compared) < FEW_QUERIES and inside.count_nonzero() > SPARSE * len(inside)):
        block = rows.read(start, stop)
        lengths = _lengths(rows, start, block)
        if inside is None:
            return None, *_bounded(compared, block.to(device), lengths.to(device), similarity)
        if len(compared) == 1 and device.type == "cpu" and can_pick(block):
            positions = torch.from_numpy(np.flatnonzero(inside.numpy()))
            return positions, *_bounded(compared, block, lengths[positions], similarity, positions)
        if lengths.amax() < torch.inf:  # nor is NaN
            values, error = _bounded(compared, block.to(device), lengths.to(device), similarity)
            return None, values.masked_fill_(~inside.to(device), -torch.inf), error
    positions = inside.nonzero().squeeze(1)
    block = _allowed_rows(rows, start, stop, inside, positions)
    lengths = torch.linalg.vector_norm(block, dim=1).to(device)
    return positions.to(device), *_bounded(compared, block.to(device), lengths, similarity)


def _search_in_float64(
    rows: Rows, queries: Tensor, similarity: Similarity, k: int, allowed: Bool[Tensor, "row"] | None, device: str
) -> Neighbors:
    compared = queries.double().to(device)
    candidates = candidates_of(len(queries), k, device)
    for start, stop in _spans(*rows.shape, len(queries), BLOCK_VALUES_IN_FLOAT64):
        inside = torch.ones(stop - start, dtype=torch.bool) if allowed is None else allowed[start:stop]
        positions = inside.nonzero().squeeze(1)
        if not len(positions):
            continue
        block = rows.read(start, stop) if allowed is None else _allowed_rows(rows, start, stop, inside, positions)
        values = similarity.pairwise(compared, block.double().to(device))
        _check_finite(values, start, positions)
        error = ROUNDED_IN_FLOAT64 * values.abs().amax(dim=-1, keepdim=True)
        candidates.add(start, positions.to(device), values, error)
    proposed = candidates.table()
    return nearest(proposed, similarities_to(queries, rows, proposed, similarity), k)


def _check_finite(
    values: Float[Tensor, "query row"],
    start: int,
    positions: Int[Tensor, "chosen"] | None,
    inside: Bool[Tensor, "block"] | None = None,
) -> None:
    """Refuse similarities without an order, of rows from ``start`` or of those at ``positions`` from it."""
    wrong = ~values.isfinite().all(dim=0)
    if inside is not None and positions is None:
        wrong &= inside.to(wrong.device)
    if bool(wrong.any()):
        column = int(wrong.nonzero()[0, 0])
        row = start + (column if positions is None else int(positions[column]))
        raise Mistake(
            f"expected similarities that are finite, but that of row {row} to a query is not; "
            "leave this row out or choose another similarity."
        )


def _allowed_rows(
    rows: Rows, start: int, stop: int, inside: Bool[Tensor, "block"], positions: Int[Tensor, "row"]
) -> Float[Tensor, "row channel"]:
    few = len(positions) <= SPARSE * len(inside)
    return rows.take(positions + start) if few else rows.read(start, stop)[positions]


def _spans(count: int, channels: int, queries: int, most_values: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of blocks that grow up to a fixed size."""
    largest = max(FIRST_BLOCK_ROWS, min(most_values // channels, PAIRS_TOGETHER // queries))
    start, size = 0, largest if queries == 1 else FIRST_BLOCK_ROWS
    while start < count:
        stop = min(start + size, count)
        yield start, stop
        start, size = stop, min(GROWTH * size, largest)


def _lengths(rows: Rows, start: int, block: Float[Tensor, "row channel"]) -> Float[Tensor, "row"]:
    """Return the norms of a block of rows, which one query would take as long to compute as to use."""
    if rows not in _KNOWN_LENGTHS:
        _KNOWN_LENGTHS[rows] = torch.full((rows.shape[0],), UNKNOWN)
    known = _KNOWN_LENGTHS[rows][start : start + len(block)]
    if not known.amin() >= 0:  # nor is NaN, the norm of a row that is refused where it is compared
        known.copy_(torch.linalg.vector_norm(block, dim=1))
    return known


def promising(
    queries: Float[Tensor, "query channel"],
    rows: Rows,
    candidates: Int[Tensor, "query candidate"],
    similarity: str | Similarity,
    k: int,
) -> Int[Tensor, "query few"]:
    """Return those of each query's candidates that may be among its k nearest of them; rows below 0 are none.

    Each is compared in float32, from what is stored; what is left is to be compared in float64. A similarity that
    does not say how leaves them all.
    """
    similarity = named_similarity(similarity)
    if traits_of(similarity).in_float32 is None:
        return candidates
    found = _in_float32(similarity).prepared(queries)
    together = max(1, GATHERED_VALUES // max(1, candidates.shape[1] * rows.shape[1]))
    parts = []
    for query, wanted in zip(found.split(together), candidates.split(together), strict=True):
        block = rows.take(wanted.clamp(min=0))
        values, error = _bounded(query[:, None], block, torch.linalg.vector_norm(block, dim=-1), similarity)
        values, error = values.squeeze(1).masked_fill(wanted < 0, -torch.inf), error.squeeze(1)
        last = values.topk(min(k, values.shape[1]), dim=-1).values[:, -1:]
        parts.append(wanted.masked_fill(values < last - 2 * error, -1))
    left = torch.cat(parts)
    query, column = (left >= 0).nonzero(as_tuple=True)
    return in_lines(query, left[query, column], len(left), -1.0)


def _in_float32(similarity: Similarity) -> InFloat32:
    found = traits_of(similarity).in_float32
    if found is None:
        raise TypeError("the similarity does not say how it is compared in float32")
    return found


def _bounded(
    queries: Float[Tensor, "*batch query channel"],
    block: Float[Tensor, "*batch stored channel"],
    lengths: Float[Tensor, "*batch row"],
    similarity: Similarity,
    positions: Int[Tensor, "row"] | None = None,
) -> tuple[Float[Tensor, "*batch query row"], Float[Tensor, "*batch query 1"]]:
    """Return similarities up to a constant of each query, and a bound on their error; ``lengths`` are the rows' norms.

    With ``positions`` there is one query, and only the rows of the block at these are compared. Where float32
    overflows or loses bits, the same is computed in float64.
    """
    smallest, largest = (float(length) ** 2 for length in lengths.aminmax())
    weight = float(queries.square().sum(dim=-1).max())
    least, most = SAFE_SQUARES
    divides = traits_of(similarity).divides_by_norm
    bounded = _in_float32(similarity).bounded
    if not (largest < most and weight < most and (not divides or smallest > least)):
        wide, asked = (block if positions is None else block[positions]).double(), queries.double()
        return bounded(asked @ wide.mT, asked, wide.norm(dim=-1), ROUNDED_IN_FLOAT64)
    unit = rounding(queries.shape[-1]) + ROUNDED[torch.get_float32_matmul_precision()]
    if positions is not None:
        products = inner_products_at(queries[0], block, positions)
    else:
        products = inner_products(queries, block) if queries.ndim == 2 else queries @ block.mT
    return bounded(products, queries, lengths, unit)
