"""The part of an encoder that lies on a device: it is moved there, and images are brought to it."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating, turn_at
from fsl_explain.backbones.placement import channels_in_words, deciding_tensor
from fsl_explain.backbones.text import TextTower
from fsl_explain.heads import Pooling

Found = TypeVar("Found")
Own = TypeVar("Own", bound="Placed")


class Placed:
    """What an encoder is that has its network, its head, its pooling and its text tower on one device."""

    network: nn.Module
    head: nn.Module
    pooling: Pooling
    text: TextTower | None
    _channels_last: bool = True

    def to(self: Own, device: str | torch.device) -> Own:
        """Move the network, the head, a pooling and a text tower to a device, in place, and return the encoder.

        Raises: ``ValueError`` for a device that is not there, or what is none, such as a dtype.
        """
        try:
            place = torch.device(device)  # a module itself would take a dtype, too
            parts = (self.network, self.head, self.pooling, None if self.text is None else self.text.network)
            modules = [part for part in parts if isinstance(part, nn.Module)]
            with evaluating(*modules):
                for module in modules:
                    module.to(place)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise Mistake(f"expected a device this machine has, but got {str(device)!r}; use cpu.") from error
        return self

    def run(self, forward: Callable[[Tensor], Found], images: Float[Tensor, "batch color height width"]) -> Found:
        """Call a forward pass with images on the network's device, in its dtype, channels last if it bears that.

        Convolutions are faster so, but a network that flattens its maps with ``view`` fails; it is called again with
        the images as they are, and from then on only so. Other threads that ask for the network wait meanwhile.

        Raises: ``ValueError`` for images of other channels than the network reads.
        """
        with turn_at(self.network), channels_in_words(images):
            return self._run(forward, images)

    def _run(self, forward: Callable[[Tensor], Found], images: Float[Tensor, "batch color height width"]) -> Found:
        decides = deciding_tensor(self.network)
        placed = images if decides is None else images.to(decides.device, decides.dtype)
        if self._channels_last and images.dim() == 4:
            try:
                return forward(placed.contiguous(memory_format=torch.channels_last))
            except RuntimeError as error:
                if "view" not in str(error):
                    raise
                self._channels_last = False
        return forward(placed)
