"""Maps as one long vector: what a linear layer over all cells reads, as in ArcFace, or an embedding of 1,600 numbers.

The pooled values are N·h·w, channel after channel and row by row, as ``torch.flatten`` orders them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Flattening:
    """Every activation is a pooled value of its own, which belongs to its cell alone."""

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Return the activations of an image behind each other."""
        return maps.flatten(start_dim=-3)

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled h w"]:
        """Give each activation to its cell; the other cells have no share of it."""
        cells = maps.shape[-2] * maps.shape[-1]
        places = torch.eye(cells, dtype=maps.dtype, device=maps.device)
        shares: Tensor = (maps.flatten(start_dim=-2)[..., None] * places).flatten(-3, -2)
        return shares.reshape(*shares.shape[:-1], *maps.shape[-2:])

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries pooled"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the weighted activations of each cell, without writing the shares out; leading dimensions broadcast."""
        placed = weights.to(maps.dtype).reshape(*weights.shape[:-1], *maps.shape[-3:])
        return (maps * placed).sum(dim=-3)

    def by_channel(
        self, values: Float[Tensor, "*batch pooled"], maps: Float[Tensor, "*batch channel h w"]
    ) -> Float[Tensor, "*batch channel"]:
        """Sum what the pooled values hold over the cells of each channel."""
        return values.reshape(*values.shape[:-1], *maps.shape[-3:]).sum(dim=(-2, -1))


def cells_of(values: Float[Tensor, "*batch flat"], channels: int) -> Float[Tensor, "*batch cell channel"]:
    """Return local features by cell. Law: ``flat(cells_of(values, J))`` is ``values``."""
    cells: Tensor = values.unflatten(-1, (channels, -1)).mT
    return cells


def flat(cells: Float[Tensor, "*batch cell channel"]) -> Float[Tensor, "*batch flat"]:
    """Put local features behind each other, channel after channel."""
    return cells.mT.flatten(start_dim=-2)


FLATTEN = Flattening()
