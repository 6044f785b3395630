"""Cells of several grids over one image, brought to the finest of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.heads.pooling import Pooling
from fsl_explain.traces import Along, SideBySide, Trace

Grid = tuple[int, int]


def finest(grids: Sequence[Grid]) -> Grid:
    """Return the height and the width of the most cells."""
    return max(height for height, _ in grids), max(width for _, width in grids)


def on_grid(cells: Float[Tensor, "*batch h w"], grid: Grid) -> Float[Tensor, "*batch _h _w"]:
    """Spread each cell's number over the cells of another grid that it lies under, in proportion to the areas.

    The sum stays, whatever the two grids, and so does a density that is the same everywhere.
    """
    if cells.shape[-2:] == grid:
        return cells
    rows = _areas(cells.shape[-2], grid[0]).to(cells)
    columns = _areas(cells.shape[-1], grid[1]).to(cells)
    return rows @ cells @ columns.mT


def maps_on_grid(maps: Float[Tensor, "*batch channel h w"], grid: Grid) -> Float[Tensor, "*batch channel _h _w"]:
    """Return maps on another grid: each of its cells has the mean of what lies under it, so that the mean stays."""
    return on_grid(maps, grid) * (grid[0] * grid[1] / (maps.shape[-2] * maps.shape[-1]))


@lru_cache(maxsize=64)
def _areas(few: int, many: int) -> Float[Tensor, "many few"]:
    """Return which part of each of ``few`` equal pieces of a side lies under each of ``many``."""
    edges, others = (torch.linspace(0, 1, count + 1, dtype=torch.float64, device="cpu") for count in (few, many))
    begin = torch.maximum(others[:-1, None], edges[:-1])
    shared = (torch.minimum(others[1:, None], edges[1:]) - begin).clamp(min=0) * few
    return shared / shared.sum(dim=0)


@dataclass(frozen=True)
class PooledTrace:
    """Who wrote pooled values that are those of maps: each cell its share."""

    pooling: Pooling
    maps: Float[Tensor, "*batch channel h w"]
    pooled: Float[Tensor, "*batch channel"]

    @property
    def grid(self) -> Grid:
        """Height and width of the maps."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """All of it."""
        return self.pooled

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """Nothing."""
        return {}

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's shares over channels with one weight a channel."""
        return self.pooling.spread(self.maps, weights)

    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same; nothing has a name."""
        return Along(self.spread(weights), {})

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return the shares."""
        return self.pooling.shares(self.maps)

    def parts(self) -> Sequence[Tensor]:
        """Return maps and pooled values."""
        return self.maps, self.pooled

    def of(self, parts: Sequence[Tensor]) -> "PooledTrace":
        """Return the same of other images."""
        maps, pooled = parts
        return replace(self, maps=maps, pooled=pooled)


@dataclass(frozen=True)
class OnGrid:
    """A trace whose cells are brought to another grid, the sum of each channel kept."""

    trace: Trace
    grid: Grid

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all cells together hold."""
        return self.trace.held

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """What no cell holds."""
        return self.trace.named

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's addend over channels with one weight a channel."""
        return self.along(weights).cells

    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same with the named addends, each summed over channels with the same weights."""
        found = self.trace.along(weights)
        return Along(on_grid(found.cells, self.grid), found.named)

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell of the grid wrote."""
        return on_grid(self.trace.addends(), self.grid)

    def parts(self) -> Sequence[Tensor]:
        """Return the tensors of the trace."""
        return self.trace.parts()

    def of(self, parts: Sequence[Tensor]) -> "OnGrid":
        """Return the same of other images."""
        return replace(self, trace=self.trace.of(parts))


def on_finest_grid(traces: Sequence[Trace]) -> SideBySide:
    """Put traces of one image seen at several sizes side by side, over the cells of the finest grid."""
    grid = finest([trace.grid for trace in traces])
    return SideBySide(tuple(trace if trace.grid == grid else OnGrid(trace, grid) for trace in traces))
