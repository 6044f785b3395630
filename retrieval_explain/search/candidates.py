"""Rows that may be among the k nearest of a query, by similarities that are known up to an error."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from retrieval_explain.ranking.neighbors import joined

PRUNED_AT = 2**20  # kept candidates of all queries together
SEGMENT = 64  # values whose largest is looked at first
SPARE = 16  # rows beyond k, among which those that float32's rounding could lift to the k-th place nearly always are


def candidates_of(queries: int, k: int, device: str) -> "Candidates | CandidatesOfOne":
    """Return the collector that so many queries need, still empty."""
    if queries == 1:
        return CandidatesOfOne(k)
    return Candidates(torch.full((queries, k), -torch.inf, dtype=torch.float64, device=device))


@dataclass
class CandidatesOfOne:
    """Rows that may be among the k nearest of one query; those of all blocks are ranked at once, which costs less."""

    k: int
    kept: list[tuple[int, Tensor | None, Tensor]] = field(default_factory=list)  # first row, rows from it, similarities
    error: float = 0.0  # the largest of all blocks
    count: int = 0

    def add(
        self, start: int, positions: Int[Tensor, "row"] | None, values: Float[Tensor, "1 row"], error: Tensor
    ) -> None:
        """Keep the rows of a block: those from ``start``, or of them those at ``positions``."""
        self.kept.append((start, positions, values[0]))
        self.error = max(self.error, float(error))
        self.count += values.shape[1]
        if self.count > PRUNED_AT:
            rows, values = self._promising()
            self.kept, self.count = [(0, rows, values)], len(rows)

    def table(self) -> Int[Tensor, "1 candidate"]:
        """Return the rows that no k others are certain to beat, on the CPU."""
        return self._promising()[0][None].cpu()

    def _promising(self) -> tuple[Int[Tensor, "row"], Float[Tensor, "row"]]:
        values = joined([values for *_, values in self.kept])
        best, place = _best(values, self.k + SPARE)
        bar = float(best.topk(min(self.k, len(best))).values[-1]) - 2 * self.error
        if len(best) == len(values) or best.amin() < bar:  # then all rows behind the best are out, unseen
            place = place[best >= bar]
        else:
            place = (values >= bar).nonzero().squeeze(1)
        if len(self.kept) == 1 and self.kept[0][1] is None:
            return place + self.kept[0][0], values[place]
        rows = [_numbers(start, positions, values) for start, positions, values in self.kept]
        return joined(rows)[place], values[place]


@dataclass
class Candidates:
    """Rows that may be among the k nearest of a query, by all that was compared so far."""

    lower: Float[Tensor, "query k"]  # the k best lower bounds, in descending order
    kept: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # query, row, upper bound
    count: int = 0

    def add(
        self,
        start: int,
        positions: Int[Tensor, "row"] | None,
        values: Float[Tensor, "query row"],
        error: Float[Tensor, "query 1"],
    ) -> None:
        """Keep the rows of a block that no k others are certain to beat. The first block sets the bar by its own.

        They are those from ``start``, or of them those at ``positions``.
        """
        begins = not self.kept and values.shape[1] >= self.lower.shape[1]
        if begins:
            self.lower = values.topk(self.lower.shape[1], dim=1).values.double() - error
        query, column = (values >= (self.lower[:, -1:] - error).to(values.dtype)).nonzero(as_tuple=True)
        if not len(query):
            return
        reached, slack = values[query, column].double(), error[query, 0]
        row = (column if positions is None else positions[column]) + start
        self.kept.append((query, row, reached + slack))
        self.count += len(query)
        if not begins:  # else they stand there already
            bounds = in_lines(query, reached - slack, len(self.lower), -torch.inf)
            self.lower = torch.cat([self.lower, bounds], dim=1).topk(self.lower.shape[1], dim=1).values
        if self.count > PRUNED_AT:
            self._prune()

    def table(self) -> Int[Tensor, "query candidate"]:
        """Return what is left of them for each query, on the CPU, padded with -1."""
        self._prune()
        query, row, _ = self.kept[0]
        order = query.argsort(stable=True)
        return in_lines(query[order], row[order], len(self.lower), -1.0).cpu()

    def _prune(self) -> None:
        query, row, upper = (torch.cat(parts) for parts in zip(*self.kept, strict=True))
        left = upper >= self.lower[query, -1]
        self.kept = [(query[left], row[left], upper[left])]
        self.count = len(self.kept[0][0])


def _best(values: Float[Tensor, "row"], count: int) -> tuple[Float[Tensor, "best"], Int[Tensor, "best"]]:
    """Return the largest values, ``count`` of them or a few more, in any order, and where they stand.

    The largest values of so many segments, the best of all, are reached by at least as many values and by few more.
    Looking for these takes less time than choosing among all values.
    """
    segments = len(values) // SEGMENT
    if values.device.type == "cpu" and segments > count:
        largest = values[: segments * SEGMENT].view(segments, SEGMENT).amax(dim=1)
        low = float(largest.topk(count).values[-1])
        if low > -torch.inf:  # nor is NaN
            place = torch.from_numpy(np.flatnonzero(values.detach().numpy() >= low))
            return values[place], place
    best, place = values.topk(min(count, len(values)))
    return best, place


def _numbers(start: int, positions: Int[Tensor, "row"] | None, values: Float[Tensor, "row"]) -> Int[Tensor, "row"]:
    return torch.arange(start, start + len(values), device=values.device) if positions is None else positions + start


def in_lines(query: Int[Tensor, "entry"], values: Tensor, queries: int, nothing: float) -> Tensor:
    """Return values, ordered by their query, as one line for each query."""
    if queries == 1:
        return values[None]
    counts = torch.bincount(query, minlength=queries)
    column = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
    table = values.new_full((queries, int(counts.max())), nothing)
    table[query, column] = values
    return table
