"""Finer maps of images seen at several scales: those of each, on the finest grid of all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import precise
from fsl_explain.finer import Drawn, Finer
from fsl_explain.heads.finest_grid import Grid, finest, maps_on_grid, on_grid
from fsl_explain.heads.pooling import Pooling


@dataclass(frozen=True)
class FinerAtScales:
    """The last maps of each scale as they are, how they are pooled, and what draws them finer.

    Pooled values, and maps on the finest grid of the last maps, stand behind each other, scale after scale.
    """

    pooling: Pooling  # of one value a map
    maps: tuple[Float[Tensor, "*batch channel _h _w"], ...]
    finers: tuple[Finer, ...]

    @property
    def grid(self) -> Grid:
        """Height and width of the finest cells of all scales."""
        return finest([one.grid for one in self.finers])

    @property
    def is_apart(self) -> bool:
        """Whether what the network's own biases carry is kept apart from the cells."""
        return self.finers[0].is_apart

    def spread(self, weights: Float[Tensor, "*queries pooled"]) -> Drawn:
        """Draw what each cell wrote into the pooled values, with one weight a value; leading dimensions broadcast."""
        parts = zip(self.finers, self.maps, weights.chunk(len(self.finers), dim=-1), strict=True)
        return self._together(
            [one.drawn(self.pooling.shares(maps), part.to(maps)[..., None, None]) for one, maps, part in parts]
        )

    def held(self) -> Float[Tensor, "*batch pooled"]:
        """Return what the finer cells hold of the pooled values."""
        each = zip(self.finers, map(self.pooling.shares, self.maps), strict=True)
        parts = [precise(shares) * (one.reach() if one.is_apart else 1) for one, shares in each]
        return torch.cat([part.sum(dim=(-2, -1)) for part in parts], dim=-1)

    def drawn(
        self, shares: Float[Tensor, "*batch channel h w"], factors: Float[Tensor, "*queries _channel _h _w"]
    ) -> Drawn:
        """Carry back shares on the finest grid of the last maps, times factors of each channel or cell.

        They are first brought to the grid of their own scale: as they were where it divides the finest one, and
        otherwise with their sum kept.
        """
        count, relevance = len(self.finers), shares * factors
        parts = zip(self.finers, self.maps, relevance.chunk(count, dim=-3), strict=True)
        found = []
        for one, maps, part in parts:
            own = on_grid(part, (maps.shape[-2], maps.shape[-1]))
            ones = torch.ones_like(maps)
            found.append(one.drawn(ones, own.to(maps)))
        return self._together(found)

    def reach(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what part of the share of each cell and channel arrives, on the finest grid of the last maps."""
        grid = finest([(maps.shape[-2], maps.shape[-1]) for maps in self.maps])
        return torch.cat([maps_on_grid(one.reach(), grid) for one in self.finers], dim=-3)

    def parts(self) -> Sequence[Tensor]:
        """Return the maps, and the tensors of all scales."""
        return [*self.maps, *(part for one in self.finers for part in one.parts())]

    def of(self, parts: Sequence[Tensor]) -> "FinerAtScales":
        """Return the same with other tensors, of other images."""
        count = len(self.maps)
        left, made = list(parts[count:]), []
        for one in self.finers:
            own = len(one.parts())
            made.append(one.of(left[:own]))
            left = left[own:]
        return replace(self, maps=tuple(parts[:count]), finers=tuple(made))

    def light(self) -> "FinerAtScales":
        """Return the same with no more than the images and the last maps kept."""
        return replace(self, finers=tuple(one.light() for one in self.finers))

    def _together(self, found: Sequence[Drawn]) -> Drawn:
        cells = torch.stack(torch.broadcast_tensors(*(on_grid(one.cells, self.grid) for one in found))).sum(dim=0)
        apart = [one.apart for one in found if one.apart is not None]
        return Drawn(cells, torch.stack(torch.broadcast_tensors(*apart)).sum(dim=0) if apart else None)
