"""Where the cells lie in a tensor, and which grids are finer than another."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Grid = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """The grid of a tensor of whole batches, and how it lies.

    ``maps`` is (batch, channel, h, w) or (batch, channel, h·w); ``rows`` is (batch, h, w, channel), (batch, h·w,
    channel) or (batch·h·w, channel).
    """

    grid: Grid
    order: Literal["maps", "rows"]

    def of_shape(self, shape: tuple[int, ...], batch: int) -> "Place | None":
        """Return the place where values of this order have been given another shape, None where it is lost."""
        height, width = self.grid
        if self.order == "maps":
            kept = shape[2:] in ((height, width), (height * width,)) and shape[0] == batch
        else:
            kept = shape[:-1] in ((batch, height, width), (batch, height * width), (batch * height * width,))
        return self if kept else None

    def permuted(self, dims: tuple[int, ...], dim: int) -> "Place | None":
        """Return the place after a permutation of the dimensions, None where it is lost."""
        to_rows, to_maps = ((0, 2, 3, 1), (0, 2, 1)), ((0, 3, 1, 2), (0, 2, 1))
        if dims == tuple(range(dim)):
            return self
        if self.order == "maps" and dims in to_rows:
            return Place(self.grid, "rows")
        if self.order == "rows" and dims in to_maps:
            return Place(self.grid, "maps")
        return None

    def cells(self, values: Tensor, batch: int) -> Float[Tensor, "batch h w"]:
        """Sum values over their channels."""
        height, width = self.grid
        if self.order == "maps":
            return values.reshape(batch, -1, height, width).sum(dim=1)
        return values.reshape(batch, height, width, -1).sum(dim=-1)


def finer_than(grid: Grid, last: Grid, detail: int) -> bool:
    """Say whether a grid is at least ``detail`` doublings finer than the last one, where strides round up."""
    return all(have >= 2**detail * (side - 1) + 1 and have > side for have, side in zip(grid, last, strict=True))


def doubled(last: Grid, detail: int) -> Grid:
    """Return the last grid with its sides doubled ``detail`` times."""
    return last[0] * 2**detail, last[1] * 2**detail
