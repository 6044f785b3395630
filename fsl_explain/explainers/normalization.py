"""Rescaling and enlarging of maps.

Notation: U is the bilinear interpolation matrix from h cells to H pixels with half-pixel centers
(``align_corners=False``).
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ROUNDING_STEPS = 8
"""Enlarging a constant map changes its values by a few units of rounding, which are no picture of anything."""


def min_max(values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Rescale to [0, 1] over the last dimension (FAM Eq. 12).

    Values that are constant but for rounding carry no ranking, so they become all ones. DEVIATION: the papers leave
    0/0 open.
    """
    low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)  # many times as fast as aminmax
    spread = high - low
    unit = min(torch.finfo(values.dtype).eps, torch.finfo(torch.float32).eps)
    is_constant = (spread <= ROUNDING_STEPS * unit * torch.maximum(low.abs(), high.abs())) & spread.isfinite()
    scaled = (values - low) / torch.where(is_constant, 1, spread)
    return torch.where(is_constant, 1, scaled) if bool(is_constant.any()) else scaled


def min_max_map(maps: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Rescale each map to [0, 1] over its cells; a map that is constant but for rounding becomes all ones."""
    return min_max(maps.flatten(start_dim=-2)).reshape(maps.shape)


def max_scaled(maps: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Divide each map by its largest value; a map without a positive value becomes all zero."""
    largest = maps.amax(dim=(-2, -1), keepdim=True)
    return torch.where(largest > 0, maps / torch.where(largest > 0, largest, 1), 0).clamp(min=0)


def upsample(
    maps: Float[Tensor, "*batch h w"], size: tuple[int, int], interpolation: str = "bilinear"
) -> Float[Tensor, "*batch height width"]:
    """Enlarge maps to ``size`` pixels: ``bilinear`` (``align_corners=False``) or ``nearest``."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    align = False if interpolation == "bilinear" else None
    return F.interpolate(flat, size=size, mode=interpolation, align_corners=align).reshape(*maps.shape[:-2], *size)


def upsample_sum_kept(
    cells: Float[Tensor, "*batch h w"], size: tuple[int, int]
) -> Float[Tensor, "*batch height width"]:
    """Enlarge signed contributions so that every cell keeps its mass: the pixels sum to the cells.

    Bilinear interpolation whose matrix is normalized per source cell.
    """
    rows = _mass_keeping_matrix(cells.shape[-2], size[0]).to(cells)
    columns = _mass_keeping_matrix(cells.shape[-1], size[1]).to(cells)
    return rows @ cells @ columns.T


@lru_cache(maxsize=64)
def _mass_keeping_matrix(cells: int, pixels: int) -> Float[Tensor, "pixels cells"]:
    """Return the bilinear matrix with columns that sum to 1; with fewer pixels than cells, area shares instead."""
    unit = torch.eye(cells, dtype=torch.float64, device="cpu")[:, None]
    if pixels >= cells:
        matrix = F.interpolate(unit, size=pixels, mode="linear", align_corners=False)[:, 0].T
    else:
        position = (torch.arange(cells, dtype=torch.float64, device="cpu") + 0.5) * pixels / cells
        matrix = F.one_hot(position.long(), pixels).T.double()
    return matrix / matrix.sum(dim=0, keepdim=True)
