"""Where a network lies, in which type it computes, and how many channels its images have: read from its weights."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from episodes.errors import Mistake

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WRONG_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")


def deciding_tensor(network: nn.Module) -> Tensor | None:
    """Return the tensor whose device and type the images take: that of the first convolution or linear layer.

    A step counter, a scale or a position may stand before it in another type. Without such a layer in floating point
    the first parameter or buffer in floating point decides; None where there is none, as in a quantized network.
    """
    return next(chain(_of_layers(network), _floating(network.parameters()), _floating(network.buffers())), None)


class WrongChannels(Mistake):
    """Images of another number of channels than the network reads."""


@contextmanager
def channels_in_words(images: Tensor) -> Iterator[None]:
    """Turn PyTorch's words for images of too many or too few channels into a sentence.

    Raises: ``ValueError`` with both numbers.
    """
    try:
        yield
    except RuntimeError as error:
        wrong = WRONG_CHANNELS.search(str(error))
        if wrong is None or int(wrong[2]) != images.shape[1]:
            raise
        raise WrongChannels(
            f"expected images of {wrong[1]} channels, as the network reads them, but got {wrong[2]} (shape "
            f"{tuple(images.shape)}); give the encoder a preprocess that makes as many."
        ) from error


def channels_read(network: nn.Module) -> Iterator[int]:
    """Yield the channels that each of its convolutions over images reads, in order."""
    return (one.in_channels for one in network.modules() if isinstance(one, nn.Conv2d))


def _of_layers(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        kind = str(module.original_name) if scripted else ""
        if isinstance(module, LAYERS) or kind.startswith(("Conv", "Linear")):
            yield from _floating(module.parameters())


def _floating(tensors: Iterator[Tensor]) -> Iterator[Tensor]:
    return (one for one in tensors if one.is_floating_point())
