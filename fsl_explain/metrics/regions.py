"""Regions of an image, the sets of them that are removed together, and what replaces them.

Regions are the cells of a square grid over the image, row by row. A set of regions is a boolean row, True where a
region is removed.

References: Castro, Gómez, Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009 (permutations);
Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022 (each with its reverse).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.metrics.masking import blurred
from fsl_explain.registries import REMOVALS

Removal = Callable[[Tensor, Tensor], Tensor]
"""From images, and another image for each, to what the pixels of a removed region become."""


def region_of_pixels(size: tuple[int, int], grid: int) -> Int[Tensor, "height width"]:
    """Return the number of the region that each pixel lies in, row by row; every pixel lies in one.

    ``size`` is the height and width of the image, ``grid`` how many regions a side has.

    Raises: ``ValueError`` for a grid below 2, or finer than the image.
    """
    if not 2 <= grid <= min(size):
        raise Mistake(
            f"expected a grid of 2 to {min(size)} cells a side for images of {size[0]}×{size[1]}, but got {grid}; "
            "7 to 14 are usual."
        )
    rows, columns = (torch.arange(pixels) * grid // pixels for pixels in size)
    return rows[:, None] * grid + columns[None]


def region_sums(saliency: Float[Tensor, "batch height width"], grid: int) -> Float[Tensor, "batch region"]:
    """Return what each region holds of a signed map: the sum of its pixels, so that regions add up to the map.

    ``grid`` is how many regions a side has, row by row. Raises: as ``region_of_pixels``.
    """
    regions = region_of_pixels((saliency.shape[1], saliency.shape[2]), grid).to(saliency.device)
    sums = torch.zeros(len(saliency), grid * grid, dtype=torch.float64, device=saliency.device)
    return sums.index_add_(1, regions.flatten(), saliency.flatten(1).double())


def removed_sums(
    sums: Float[Tensor, "batch region"], removed: Bool[Tensor, "batch set region"]
) -> Float[Tensor, "batch set"]:
    """Return what each set of regions holds of a map: the drop that the map claims for its removal."""
    return torch.einsum("br,bsr->bs", sums.double(), removed.to(sums.device).double())


def each_alone(images: int, regions: int) -> Bool[Tensor, "image region region"]:
    """Return the sets of one region each."""
    return torch.eye(regions, dtype=torch.bool).expand(images, -1, -1)


def random_sets(draws: int, regions: int, generator: torch.Generator) -> Bool[Tensor, "draw region"]:
    """Draw sets of regions: each of a random size, from one region to all but one, every size as likely."""
    sizes = torch.randint(1, regions, (draws,), generator=generator)
    places = torch.rand(draws, regions, generator=generator).argsort(dim=1).argsort(dim=1)
    return places < sizes[:, None]


def random_orders(pairs: int, regions: int, generator: torch.Generator) -> Int[Tensor, "order region"]:
    """Draw ``pairs`` orders of all regions, numbered from 0, each followed by its reverse."""
    drawn = torch.rand(pairs, regions, generator=generator).argsort(dim=1)
    return torch.stack([drawn, drawn.flip(1)], dim=1).flatten(0, 1)


def sets_along(orders: Int[Tensor, "*batch order region"]) -> Bool[Tensor, "*batch order step region"]:
    """Return the sets of regions that are gone after each step, when regions are removed in an order one by one."""
    places = orders.argsort(dim=-1)
    return places[..., None, :] <= torch.arange(orders.shape[-1], device=orders.device)[:, None]


def shapley_values(
    orders: Int[Tensor, "batch order region"], drops: Float[Tensor, "batch order step"]
) -> Float[Tensor, "batch region"]:
    """Return each region's mean share of the drop over orders of removal: an estimate of its Shapley value.

    ``drops`` are what the score has lost after each step of ``sets_along``. The values of an image sum to its drop when
    all is removed. A positive region carried the score.
    """
    shares = drops.diff(dim=-1, prepend=torch.zeros_like(drops[..., :1]))
    return torch.zeros_like(shares).scatter(2, orders.to(drops.device), shares).mean(dim=1)


def without_regions(
    images: Float[Tensor, "batch color height width"],
    removed: Bool[Tensor, "batch region"],
    replacement: Float[Tensor, "batch color height width"],
) -> Float[Tensor, "batch color height width"]:
    """Return the images with the pixels of one set of regions each replaced.

    Raises: ``ValueError`` for another number of regions than a square grid has.
    """
    grid = round(removed.shape[1] ** 0.5)
    if grid * grid != removed.shape[1]:
        raise Mistake(f"expected the regions of a square grid, 49 or 196 say, but got {removed.shape[1]}; count again.")
    regions = region_of_pixels((images.shape[2], images.shape[3]), grid)
    gone = removed[:, regions].to(images.device)[:, None]
    return torch.where(gone, replacement, images)


def replacement(
    images: Float[Tensor, "batch color height width"], others: Float[Tensor, "batch color height width"], how: str
) -> Float[Tensor, "batch color height width"]:
    """Return what removed pixels become, in the units of the preprocessed images; ``how`` names it.

    ``blur``: the image itself under a Gaussian of a twentieth of its longer side. ``mean``: the mean color of this
    image. ``patch``: the same place of ``others``, one other image for each.

    Raises: ``LookupError`` for no name in ``REMOVALS``.
    """
    found: Tensor = REMOVALS[how](images, others)
    return found


def own_blur(
    images: Float[Tensor, "batch color height width"], _others: Float[Tensor, "batch color height width"]
) -> Float[Tensor, "batch color height width"]:
    """Return the images without their details."""
    return blurred(images, None)


def own_mean(
    images: Float[Tensor, "batch color height width"], _others: Float[Tensor, "batch color height width"]
) -> Float[Tensor, "batch color height width"]:
    """Return images of one color, the mean of each."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


def other_patch(
    _images: Float[Tensor, "batch color height width"], others: Float[Tensor, "batch color height width"]
) -> Float[Tensor, "batch color height width"]:
    """Return the other images, whose patches are as natural as those that they replace."""
    return others
