"""Traces: pooled values as sums of what each cell wrote into them, and of named addends that have no place.

A network that pools its maps needs none: the pooling itself says each cell's share. A class token, or attention that
pools, gathers from cells in other ways; then the trace says who wrote what, with all gains frozen at the image's own
values. Law: ``held`` and ``named`` sum to the pooled values, and ``addends`` to ``held``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake


@dataclass(frozen=True)
class Along:
    """What each of the ``cells``, and each ``named`` part, holds of the pooled values times one weight a channel.

    Both are summed over channels and of any sign; together they sum to the pooled values times the weights.
    """

    cells: Float[Tensor, "... h w"]
    named: Mapping[str, Float[Tensor, "..."]]


@runtime_checkable
class Trace(Protocol):
    """Who wrote the pooled values of images, with any leading dimensions."""

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the cells."""
        ...

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all cells together hold of the pooled values."""
        ...

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """What no cell holds, each part by what it stands for."""
        ...

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's addend over channels with one weight a channel; leading dimensions broadcast."""
        ...

    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same with the named addends, each summed over channels with the same weights."""
        ...

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell wrote."""
        ...

    def parts(self) -> Sequence[Tensor]:
        """Return the tensors it is made of, each with the leading dimensions."""
        ...

    def of(self, parts: Sequence[Tensor]) -> "Trace":
        """Return the same with other tensors, of other images."""
        ...


def weighted_sum(
    maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries channel"]
) -> Float[Tensor, "... h w"]:
    """Sum maps over channels with one weight a channel; leading dimensions broadcast.

    One matrix product per map: the leading dimensions that only the weights have are its rows, so that many
    queries of the same maps copy none of them.
    """
    leading = torch.broadcast_shapes(weights.shape[:-1], maps.shape[:-3])
    return torch.einsum("...n,...nhw->...hw", weights.to(maps.dtype).expand(*leading, -1), maps)


@dataclass(frozen=True)
class Addends:
    """A trace that is written out: one addend a cell and channel."""

    maps: Float[Tensor, "*batch channel h w"]
    named: Mapping[str, Float[Tensor, "*batch channel"]]

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the cells."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all cells together hold."""
        return self.maps.double().sum(dim=(-2, -1))

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's addend over channels with one weight a channel."""
        return weighted_sum(self.maps, weights)

    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same with the named addends, each summed over channels with the same weights."""
        named = {name: (value * weights.to(value)).sum(dim=-1) for name, value in self.named.items()}
        return Along(self.spread(weights), named)

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell wrote."""
        return self.maps

    def parts(self) -> Sequence[Tensor]:
        """Return the maps and the named addends."""
        return (self.maps, *self.named.values())

    def of(self, parts: Sequence[Tensor]) -> "Addends":
        """Return the same with other tensors."""
        maps, *named = parts
        return Addends(maps, dict(zip(self.named, named, strict=True)))


@dataclass(frozen=True)
class SideBySide:
    """Traces of pooled values whose channels stand behind each other, over the same cells."""

    traces: tuple[Trace, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the cells."""
        return self.traces[0].grid

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all cells together hold."""
        return torch.cat([trace.held for trace in self.traces], dim=-1)

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """What no cell holds; a part that is in one of the traces alone is 0 in the channels of the others."""
        names = dict.fromkeys(name for trace in self.traces for name in trace.named)
        zeros = [torch.zeros_like(trace.held) for trace in self.traces]
        return {
            name: torch.cat([t.named.get(name, zero) for t, zero in zip(self.traces, zeros, strict=True)], dim=-1)
            for name in names
        }

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's addend over channels with one weight a channel."""
        return self.along(weights).cells

    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same with the named addends, a part of several traces summed."""
        widths = [trace.held.shape[-1] for trace in self.traces]
        found = [t.along(part) for t, part in zip(self.traces, weights.split(widths, dim=-1), strict=True)]
        cells = torch.stack(torch.broadcast_tensors(*(one.cells for one in found))).sum(dim=0)
        named: dict[str, Tensor] = {}
        for name, value in (item for one in found for item in one.named.items()):
            named[name] = named[name] + value if name in named else value
        return Along(cells, named)

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell wrote."""
        found = [trace.addends() for trace in self.traces]
        widest = max((one.dtype for one in found), key=lambda dtype: torch.finfo(dtype).bits)
        return torch.cat([one.to(widest) for one in found], dim=-3)

    def parts(self) -> Sequence[Tensor]:
        """Return the tensors of all of them."""
        return [part for trace in self.traces for part in trace.parts()]

    def of(self, parts: Sequence[Tensor]) -> "SideBySide":
        """Return the same with other tensors."""
        left, made = list(parts), []
        for trace in self.traces:
            count = len(trace.parts())
            made.append(trace.of(left[:count]))
            left = left[count:]
        return replace(self, traces=tuple(made))


def indexed(trace: Trace | None, index: Any) -> Trace | None:
    """Index the leading dimensions of a trace."""
    return None if trace is None else trace.of([part[index] for part in trace.parts()])


def unflattened(trace: Trace | None, leading: Sequence[int]) -> Trace | None:
    """Give the one leading dimension of a trace the shape ``leading``."""
    return None if trace is None else trace.of([part.unflatten(0, tuple(leading)) for part in trace.parts()])


def behind_each_other(traces: Sequence[Trace | None]) -> Trace | None:
    """Join the traces of batches of images. Raises: ``ValueError`` where some are there and others are not."""
    there = [trace for trace in traces if trace is not None]
    if not there:
        return None
    if len(there) < len(traces):
        raise Mistake("expected features of one readout, but some are of another; embed all images with one encoder.")
    parts = zip(*(trace.parts() for trace in there), strict=True)
    return there[0].of([torch.cat(list(part)) for part in parts])


def written_out(trace: Trace | None) -> Addends | None:
    """Return a trace with every addend written out, on the CPU: as large as the maps, whatever it was made of."""
    if trace is None:
        return None
    return Addends(trace.addends().cpu(), {name: value.cpu() for name, value in trace.named.items()})
