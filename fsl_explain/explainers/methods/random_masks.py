"""RELAX's random masks: a coarse grid of kept and dropped cells, enlarged to the size of the image.

Mask i is a function of (seed, i) alone, whatever is drawn before, beside or after it. The ``official`` masks follow
``mask_generator`` of the code that Wickstrøm et al. published with RELAX; the ``lafam`` ones follow the simplified
RELAX that Karjauv and Albayrak compare LaFAM with.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name

VARIANTS = ("official", "lafam")


def random_masks(
    numbers: range, size: tuple[int, int], grid: int, keep: float, seed: int, variant: str = "official"
) -> Float[Tensor, "mask height width"]:
    """Return the masks of these numbers, in [0, 1] and float64; each cell of the grid is 1 with probability ``keep``.

    Raises: ``LookupError`` for an unknown variant, ``ValueError`` for an image smaller than half the grid.
    """
    cells, shifts = drawn_grids(numbers, grid, keep, seed)
    if variant == "official":
        return smooth_masks(cells, shifts, size)
    if variant == "lafam":
        return blocky_masks(cells, size)
    raise unknown_name("variant of RELAX", variant, VARIANTS)


def drawn_grids(
    numbers: range, grid: int, keep: float, seed: int
) -> tuple[Float[Tensor, "mask grid grid"], Int[Tensor, "mask 2"]]:
    """Draw each mask's cells, and by how many pixels it is shifted down and to the right: 0 to ``grid`` - 1."""
    cells, shifts = np.empty((len(numbers), grid, grid)), np.empty((len(numbers), 2), dtype=np.int64)
    for position, number in enumerate(numbers):
        generator = np.random.default_rng((seed, number))
        cells[position] = generator.random((grid, grid)) < keep
        shifts[position] = generator.integers(0, grid, size=2)
    return torch.from_numpy(cells), torch.from_numpy(shifts)


def smooth_masks(
    cells: Float[Tensor, "mask grid grid"], shifts: Int[Tensor, "mask 2"], size: tuple[int, int]
) -> Float[Tensor, "mask height width"]:
    """Enlarge bilinearly to the image, reflect half a grid of pixels round it, and cut out at the shift.

    Bilinear, reflected and cut are all linear and act on rows and columns apart: two matrix products.
    """
    rows, columns = (_shifted_matrices(cells.shape[-1], pixels) for pixels in size)
    return rows[shifts[:, 0]] @ cells @ columns[shifts[:, 1]].transpose(-1, -2)


def blocky_masks(cells: Float[Tensor, "mask grid grid"], size: tuple[int, int]) -> Float[Tensor, "mask height width"]:
    """Enlarge by the nearest cell, without a shift."""
    return F.interpolate(cells[:, None], size=size, mode="nearest")[:, 0]


@lru_cache(maxsize=16)
def _shifted_matrices(grid: int, pixels: int) -> Float[Tensor, "shift pixels grid"]:
    """Return for each shift the matrix that takes the grid's cells to the pixels."""
    reach = grid // 2
    if reach >= pixels:
        raise Mistake(
            f"expected images of more than {reach} pixels a side for masks of a {grid}×{grid} grid, "
            f"but got {pixels}; lower grid, or choose variant='lafam'."
        )
    enlarged = F.interpolate(torch.eye(grid, dtype=torch.float64, device="cpu")[:, None], size=pixels, mode="linear")
    padded = F.pad(enlarged, (reach, reach), mode="reflect")[:, 0]
    return padded.unfold(1, pixels, 1).permute(1, 2, 0).contiguous()
