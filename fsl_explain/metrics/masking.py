"""Maps as masks: how much of each pixel stays, and what takes its place.

Reference: FAM (Liao, Gao, Zhang, 2023) multiplies an image by its map and does not say what a removed pixel becomes.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from episodes.errors import Mistake
from fsl_explain.metrics.positive_part import positive_part
from fsl_explain.registries import MASKINGS

BLUR_SHARE_OF_SIDE = 0.05
Masking = Callable[[Tensor, Tensor | None], Tensor | float]
"""From images, and what black is after preprocessing, to what removed pixels become."""


def masks_from_saliency(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Return how much of each pixel stays, in [0, 1]: the map itself where it lies in [0, 1], otherwise scaled.

    Decided map by map; the scaling is that of ``masks_from_signed_saliency``, which is the one to call for a signed
    map that may happen to have no negative pixel. All NaN for a map with a NaN or infinite pixel.
    """
    lowest, highest = _extremes(saliency)
    lies_within = (lowest >= 0) & (highest <= 1)
    return positive_part(saliency) / torch.where(lies_within, 1, _scale(lowest, highest))


def masks_from_signed_saliency(
    saliency: Float[Tensor, "batch height width"],
) -> Float[Tensor, "batch height width"]:
    """Return max(saliency, 0) over its largest value: in [0, 1], and 1 at the maximum.

    A map without a positive pixel removes everything (all zero). All NaN for a map with a NaN or infinite pixel.
    """
    return positive_part(saliency) / _scale(*_extremes(saliency))


def _extremes(saliency: Float[Tensor, "batch height width"]) -> tuple[Tensor, Tensor]:
    return saliency.amin(dim=(1, 2), keepdim=True), saliency.amax(dim=(1, 2), keepdim=True)


def _scale(lowest: Float[Tensor, "batch 1 1"], highest: Float[Tensor, "batch 1 1"]) -> Float[Tensor, "batch 1 1"]:
    """Return what maps are divided by; what is divided by NaN is NaN."""
    is_finite = lowest.isfinite() & highest.isfinite()
    return torch.where(is_finite, torch.where(highest > 0, highest, 1), torch.nan)


def masked_images(
    images: Float[Tensor, "batch color height width"],
    masks: Float[Tensor, "batch height width"],
    *,
    removed: Float[Tensor, "batch color height width"] | Float[Tensor, "color 1 1"] | float = 0.0,
    out: Float[Tensor, "batch color height width"] | None = None,
) -> Float[Tensor, "batch color height width"]:
    """Return the preprocessed images with ``masks`` of each pixel kept and the rest ``removed`` in its place.

    A mask of ones returns the images, a mask of zeros what is removed. ``out`` is a tensor to write them to.
    """
    kept = torch.mul(images, masks[:, None], out=out)
    # A replacement of 0 adds nothing, and the sum would cost as much as the product.
    if not isinstance(removed, Tensor) and removed == 0:
        return kept
    return torch.add(kept, removed * (1 - masks[:, None]), out=out)


def removed_pixels(
    images: Float[Tensor, "batch color height width"], how: str, *, black: Float[Tensor, "_color 1 1"] | None = None
) -> Float[Tensor, "batch color height width"] | Float[Tensor, "color 1 1"] | float:
    """Return what removed pixels become, in the units of the preprocessed images.

    ``mean``: 0, the mean color of normalized images. ``black``: ``black``, which is black after preprocessing.
    ``blur``: the images under a Gaussian of a twentieth of their longer side, which keeps colors and loses shapes.

    Raises:
        LookupError: ``how`` is no name in ``MASKINGS``.
        ValueError: ``black`` is asked for and not given.
    """
    removed: Tensor | float = MASKINGS[how](images, black)
    return removed


def mean_color(_images: Float[Tensor, "batch color height width"], _black: Float[Tensor, "_color 1 1"] | None) -> float:
    """Return 0, the mean color of normalized images."""
    return 0.0


def black_after_preprocessing(
    images: Float[Tensor, "batch color height width"], black: Float[Tensor, "_color 1 1"] | None
) -> Float[Tensor, "_color 1 1"]:
    """Return the value of black; a network's images are black only after its preprocessing."""
    if black is None:
        raise Mistake(
            "removed pixels become black only if the value of black after preprocessing is known, but none was given. "
            "Pass black, or choose mean or blur."
        )
    if len(black) not in (1, images.shape[1]):
        raise Mistake(
            f"expected black in the {images.shape[1]} channels of the images, but it is known for {len(black)}, those "
            "of the encoder's preprocessing; choose mean or blur, or give the encoder the preprocessing it needs."
        )
    return black


def blurred(
    images: Float[Tensor, "batch color height width"], _black: Float[Tensor, "_color 1 1"] | None
) -> Float[Tensor, "batch color height width"]:
    """Blur along each axis in turn: the same as one square kernel, and tens of times as fast."""
    height, width = images.shape[-2:]
    deviation = BLUR_SHARE_OF_SIDE * max(height, width)
    reach = math.ceil(3 * deviation)
    # The border is mirrored, which needs a kernel that reaches less far than the image.
    across, down = 2 * min(reach, width - 1) + 1, 2 * min(reach, height - 1) + 1
    sigma = [deviation, deviation]
    softened: Tensor = gaussian_blur(gaussian_blur(images, [across, 1], sigma), [1, down], sigma)
    return softened
