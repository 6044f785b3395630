"""The nearest rows of a bank: what a search returns, and the exact search that all others are checked against.

Order: the more similar first, the lower row first among equals.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.brief import brief
from fsl_explain.similarities import Similarity, named_similarity, traits_of

ROWS_IN_A_BLOCK = 65536
COMPARED_VALUES = 2**16  # of candidates at a time, so that their numbers stay in the processor's cache


@dataclass(frozen=True)
class Neighbors:
    """The k nearest rows of each query, the most similar first; ties go to the lower row.

    ``indices`` are rows of the bank. ``similarities`` were computed in float64 from the stored embeddings, and larger
    is more alike. ``labels`` are those of the rows, -1 where one has none; None where they were not looked up.
    """

    indices: Int[Tensor, "*batch k"]
    similarities: Float[Tensor, "*batch k"]
    labels: Int[Tensor, "*batch k"] | None = None

    def __repr__(self) -> str:
        return brief(self)

    def __getitem__(self, query: int | slice) -> "Neighbors":
        """Return the neighbors of one query of a batch, or of some."""
        labels = None if self.labels is None else self.labels[query]
        return Neighbors(self.indices[query], self.similarities[query], labels)


@runtime_checkable
class Rows(Protocol):
    """Stored embeddings that are read in pieces, as float32."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        ...

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return the rows from ``start`` up to but without ``stop``."""
        ...

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        ...


@dataclass(frozen=True)
class RowsInMemory:
    """Embeddings that are a tensor already."""

    embeddings: Float[Tensor, "row channel"]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self.embeddings.shape[0], self.embeddings.shape[1]

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return consecutive rows."""
        return self.embeddings[start:stop]

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        rows = self.embeddings.index_select(0, indices.flatten())  # more than twice as fast as indexing
        return rows.reshape(*indices.shape, rows.shape[1])


def blocks(rows: Rows, size: int = ROWS_IN_A_BLOCK) -> Iterator[tuple[int, Float[Tensor, "row channel"]]]:
    """Yield the number of its first row and each block of rows."""
    return ((start, rows.read(start, min(start + size, rows.shape[0]))) for start in range(0, rows.shape[0], size))


def nearest(
    indices: Int[Tensor, "query candidate"], similarities: Float[Tensor, "query candidate"], k: int
) -> Neighbors:
    """Keep the k best of each query's candidates, in order; candidates below row 0 are none."""
    absent = indices < 0
    values, order = similarities.masked_fill(absent, -torch.inf).sort(dim=-1, descending=True)
    if not bool((values[..., 1:] == values[..., :-1]).any()):  # the rows' order, half of the time, is for ties alone
        return Neighbors(indices.gather(-1, order[..., :k]), similarities.gather(-1, order[..., :k]))
    by_row = indices.masked_fill(absent, torch.iinfo(torch.int64).max).argsort(dim=-1, stable=True)
    values = similarities.masked_fill(absent, -torch.inf).gather(-1, by_row)
    order = by_row.gather(-1, values.argsort(dim=-1, descending=True, stable=True)[..., :k])
    return Neighbors(indices.gather(-1, order), similarities.gather(-1, order))


def similarities_to(
    queries: Float[Tensor, "query channel"],
    rows: Rows,
    indices: Int[Tensor, "query candidate"],
    similarity: str | Similarity,
) -> Float[Tensor, "query candidate"]:
    """Return the similarity of each query to each of its candidates, in float64; a row below 0 counts as row 0.

    Each pair is compared alone, so that equal rows get equal numbers wherever they stand, which a matrix product does
    not promise.
    """
    compared = named_similarity(similarity)
    by_channel = traits_of(compared).in_float32 is not None
    together = max(1, COMPARED_VALUES // max(1, indices.shape[1] * rows.shape[1]))
    parts = []
    for query, wanted in zip(queries.double().split(together), indices.clamp(min=0).split(together), strict=True):
        candidates = rows.take(wanted).double()
        if by_channel:
            parts.append(compared.contributions(query[:, None], candidates).sum(dim=-1))
        else:
            parts.append(compared.pairwise(query[:, None, None], candidates[:, :, None])[..., 0, 0])
    return joined(parts)


def joined(parts: list[Tensor]) -> Tensor:
    """Put parts behind each other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def scan(
    queries: Float[Tensor, "query channel"],
    rows: Rows,
    similarity: str | Similarity,
    k: int,
    allowed: Bool[Tensor, "row"] | None = None,
) -> Neighbors:
    """Compare every query with every row in float64; ``allowed`` leaves rows out.

    Slow and exact. Memory is that of one block of rows.
    """
    best = Neighbors(torch.empty(len(queries), 0, dtype=torch.int64), torch.empty(len(queries), 0, dtype=torch.float64))
    for start, block in blocks(rows, max(1, ROWS_IN_A_BLOCK * 64 // max(64, rows.shape[1]))):
        kept = slice(None) if allowed is None else allowed[start : start + len(block)]
        values = named_similarity(similarity).pairwise(queries.double(), block[kept].double())
        compared = torch.arange(start, start + len(block))[kept]
        best = nearest(
            torch.cat([best.indices, compared.expand(len(queries), -1)], dim=-1),
            torch.cat([best.similarities, values], dim=-1),
            k,
        )
    return best
