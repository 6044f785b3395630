"""A map in the size of its photograph, in the colors of all maps."""

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from episodes import as_rgb
from fsl_explain.pictures.picture import colorize, overlay


def draw(
    saliency: Float[Tensor, "height width"], photograph: PIL.Image.Image | None, signed: bool, limit: float
) -> PIL.Image.Image:
    """Lay a map over its upright photograph, or draw it alone, transparent where it is NaN.

    The scale of a signed map reaches from ``-limit`` to ``limit``.
    """
    scale = limit if signed else None
    if photograph is not None:
        below = as_rgb(photograph)
        image = torch.from_numpy(np.array(below)).movedim(-1, 0).float() / 255
        return PIL.Image.fromarray(_bytes(overlay(image, saliency, signed, scale)))
    opacity = (~saliency.isnan()).float()[..., None]
    return PIL.Image.fromarray(_bytes(torch.cat([colorize(saliency, signed, scale), opacity], dim=-1)))


def _bytes(colors: Float[Tensor, "height width channel"]) -> np.ndarray:
    values: np.ndarray = colors.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return values
