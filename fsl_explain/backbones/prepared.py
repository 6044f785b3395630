"""What an encoder makes of photographs before its network sees them, and what it can say of that."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from episodes.geometry import Geometry, geometry_of
from fsl_explain.backbones.preprocessing import normalization_of, reverses_channels, square_side
from fsl_explain.image_batch import image_batch

Preprocess = Callable[[Image.Image], Tensor]
"""From an upright RGB image to a tensor (color, height, width) that a network takes."""


def pattern() -> Image.Image:
    """Draw a picture of 64×64 pixels with edges of every size and many colors, the same everywhere."""
    side = np.arange(64, dtype=np.uint8)
    colors = np.stack([side[:, None] + 0 * side, side + 0 * side[:, None], side[:, None] ^ side], axis=-1) * 4
    return Image.fromarray(colors)


class Prepared:
    """Images prepared by ``transform``."""

    transform: Preprocess

    def preprocess(self, images: Any) -> Float[Tensor, "batch color height width"]:
        """Turn a list of images into one batch, on the CPU, the same pixels from a file as from its PIL image.

        An image is a PIL image of any mode, a path, an array (height, width, 3) or (height, width) of uint8 or of
        floats from 0 to 1, or an integer tensor (3, height, width). Each becomes upright RGB, transparency on white.

        Raises: ``TypeError`` for anything else, or a single image; ``ValueError`` for none, or for different sizes.
        """
        return image_batch(self.transform, images)

    @property
    def carries_boxes(self) -> bool:
        """Whether the preprocessing moves boxes and masks with their image."""
        return isinstance(self.transform, v2.Transform)

    @property
    def image_size(self) -> int | None:
        """The side, in pixels, of the square images its preprocessing makes, or None when it does not show it."""
        return square_side(self.transform)

    @property
    def geometry(self) -> Geometry | None:
        """How the preprocessing resizes and cuts a photograph, or None when it does not show it."""
        return geometry_of(self.transform)

    @property
    def normalization(self) -> tuple[list[float], list[float]] | None:
        """The mean and standard deviation of the preprocessing, or None when it does not show them.

        They are of pixels in [0, 1], in the order of the channels that the network sees, which ``bgr`` tells.
        """
        return normalization_of(self.transform)

    @property
    def bgr(self) -> bool:
        """Whether the preprocessing makes images whose channels are blue, green and red."""
        return reverses_channels(self.transform)

    @property
    def black(self) -> Float[Tensor, "color 1 1"] | None:
        """What a black pixel becomes, or None when the preprocessing does not show it."""
        if self.normalization is None:
            return None
        mean, std = (torch.tensor(values)[:, None, None] for values in self.normalization)
        return -mean / std
