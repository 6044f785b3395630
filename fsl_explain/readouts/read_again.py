"""Readouts that say what they would make of other cells: derivatives by these pass through what reads them last.

A class token's stream is one itself, and so is a module that pools maps. Here is a class token beside the mean of the
patches.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.readouts.cells import normalize
from fsl_explain.readouts.stream import StreamTrace
from fsl_explain.traces import SideBySide


@runtime_checkable
class ReadsAgain(Protocol):
    """A trace of pooled values that could be read out of other cells.

    Law: ``read_again(cells_read)`` are the pooled values.
    """

    @property
    def cells_read(self) -> Float[Tensor, "*batch channel h w"]:
        """The cells as what makes the pooled values reads them last."""
        ...

    def read_again(self, cells: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Return the pooled values, had these cells been read; derivatives by them are recorded."""
        ...


@dataclass(frozen=True)
class ClassAndMean(SideBySide):
    """A class token's stream, and behind it the mean of the patches as they leave the last block, normalized."""

    norm: nn.Module

    @property
    def cells_read(self) -> Float[Tensor, "*batch channel h w"]:
        """The patches as the last block reads them: where the two ways part."""
        return self._stream.cells_read

    def read_again(self, cells: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Return both, had the last block read these patches; derivatives pass through all of the block."""
        stream = self._stream
        prefix, count = len(stream.plan.roles), stream.grid[0] * stream.grid[1]
        every = replace(stream, plan=replace(stream.plan, queries=tuple(range(prefix + count))))
        left = every.read_again(cells).unflatten(-1, (prefix + count, -1))
        queried = left[..., list(stream.plan.queries), :].flatten(-2)
        return torch.cat([queried, normalize(self.norm, left[..., prefix:, :]).mean(dim=-2)], dim=-1)

    @property
    def _stream(self) -> StreamTrace:
        (stream,) = (trace for trace in self.traces if isinstance(trace, StreamTrace))
        return stream
