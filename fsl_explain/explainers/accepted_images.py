"""Which images a network takes: those of as many channels as it reads."""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.backbones.placement import WrongChannels, channels_read
from fsl_explain.encoder import Encoder


def takes(encoder: Encoder, images: Float[Tensor, "*batch color height width"]) -> bool:
    """Tell whether the network reads images of so many channels.

    One of its convolutions does, or else the first image goes through: it may rearrange pixels before it reads them.
    """
    if images.shape[-3] in channels_read(encoder.network):
        return True
    try:
        encoder(images.reshape(-1, *images.shape[-3:])[:1])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, WrongChannels):
        return False
    return True


def expected_colors(encoder: Encoder) -> int:
    """Return the channels that the first convolution reads, for a sentence; 3 where there is none."""
    return next(channels_read(encoder.network), 3)
