"""Rows that lie in several places: each is searched by itself, and all that is found is put in one order.

The k nearest of all are among the k nearest of each shard, and a similarity is computed of each pair alone. So the
merged order, ties by row included, is that of the same rows in one place.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Neighbors, Rows, nearest
from retrieval_explain.search.exact_search import exact_search


@dataclass(frozen=True)
class Asked:
    """What one shard is asked for; ``allowed`` are its own rows."""

    shard: int
    queries: Float[Tensor, "query channel"]
    similarity: str | Similarity
    k: int
    allowed: Bool[Tensor, "row"] | None
    device: str = "cpu"


@runtime_checkable
class Searchers(Protocol):
    """Search shards by number, wherever they are."""

    def search(self, asked: Sequence[Asked]) -> list[Neighbors]:
        """Return the neighbors that each shard was asked for, numbered by its own rows."""
        ...


@dataclass(frozen=True, eq=False)
class SearchersHere:
    """Search shard after shard in this process."""

    shards: tuple[Rows, ...]

    def search(self, asked: Sequence[Asked]) -> list[Neighbors]:
        """Search each shard exactly."""
        return [searched(self.shards[one.shard], one) for one in asked]


def searched(rows: Rows, asked: Asked) -> Neighbors:
    """Search the rows of one shard exactly."""
    return exact_search(rows, asked.queries, asked.similarity, asked.k, asked.allowed, asked.device)


@dataclass(frozen=True, eq=False)
class ShardedRows:
    """The rows of several shards behind each other, in the order of the shards."""

    shards: tuple[Rows, ...]
    searchers: Searchers

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self.starts[-1], self.shards[0].shape[1]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row of each shard, and the number of all rows."""
        return tuple(accumulate((one.shape[0] for one in self.shards), initial=0))

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return consecutive rows."""
        parts = [
            self.shards[shard].read(max(start, first) - first, min(stop, end) - first)
            for shard, first, end in self._places()
            if start < end and stop > first
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.shape[1])

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        flat = indices.flatten()
        found = torch.empty(len(flat), self.shape[1])
        for shard, first, end in self._places():
            here = ((flat >= first) & (flat < end)).nonzero()[:, 0]
            if len(here):
                found[here] = self.shards[shard].take(flat[here] - first)
        return found.reshape(*indices.shape, self.shape[1])

    def search(
        self,
        queries: Float[Tensor, "query channel"],
        similarity: str | Similarity,
        k: int,
        allowed: Bool[Tensor, "row"] | None = None,
        device: str = "cpu",
    ) -> Neighbors:
        """Return the k nearest rows of each query, of those that are ``allowed``; ties go to the lower row."""
        asked, firsts = [], []
        for shard, first, end in self._places():
            inside = None if allowed is None else allowed[first:end]
            there_are = end - first if inside is None else int(inside.sum())
            if there_are:
                asked.append(Asked(shard, queries, similarity, min(k, there_are), inside, device))
                firsts.append(first)
        found = self.searchers.search(asked)
        indices = torch.cat([one.indices + first for one, first in zip(found, firsts, strict=True)], dim=-1)
        return nearest(indices, torch.cat([one.similarities for one in found], dim=-1), k)

    def place_of(self, row: int) -> tuple[int, int]:
        """Return the shard of a row, and its row there."""
        shard = bisect_right(self.starts, row) - 1
        return shard, row - self.starts[shard]

    def _places(self) -> Iterator[tuple[int, int, int]]:
        pairs = zip(self.starts[:-1], self.starts[1:], strict=True)
        return ((shard, first, end) for shard, (first, end) in enumerate(pairs))
