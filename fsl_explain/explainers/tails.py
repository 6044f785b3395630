"""What lies between activation maps and the embedding, as one function of the maps that derivatives pass through."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.placement import deciding_tensor
from fsl_explain.devices import HALF, at_hand, in_full_precision, module_at_hand
from fsl_explain.encoder import Encoder
from fsl_explain.heads import Pooling


@runtime_checkable
class Tail(Protocol):
    """From maps to embeddings. It need not be linear, nor a pooling."""

    def __call__(
        self, maps: Float[Tensor, "image channel h w"], images: Float[Tensor, "image color height width"] | None
    ) -> Float[Tensor, "image embedding"]:
        """Return the embeddings of maps; derivatives by the maps are recorded, and no other."""
        ...

    @property
    def needs_images(self) -> bool:
        """Whether it is part of a network that runs on images, to have its maps replaced."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it computes."""
        ...


@dataclass(frozen=True)
class NetworkTail:
    """All that the network of an encoder with ``tail="network"`` does behind the explained layer, and the head."""

    encoder: Encoder

    def __call__(
        self, maps: Float[Tensor, "image channel h w"], images: Float[Tensor, "image color height width"] | None
    ) -> Float[Tensor, "image embedding"]:
        """Run the network on the images, from the layer on with the maps instead of its own.

        Raises: ``ValueError`` without images, or for a network whose output no derivative reaches.
        """
        if images is None:
            raise Mistake(
                "the network goes on from its maps, for which it has to see the images again, but only their features "
                "were kept; use explain() with images."
            )
        encoder = self.encoder
        with evaluating(encoder.network, encoder.head):
            outcome = encoder.run(partial(encoder.reading.outcome_from, maps), images)
            with torch.autocast(outcome.device.type, enabled=False), torch.enable_grad():
                embedding: Tensor = module_at_hand(encoder.head)(in_full_precision(at_hand(outcome)).clone())
        if maps.requires_grad and not embedding.requires_grad:
            raise Mistake(
                "expected an output that depends on the explained layer and is computed with derivatives, but the "
                "network gives one without; choose another layer, or drop no_grad() or detach() behind it."
            )
        return embedding

    @property
    def needs_images(self) -> bool:
        """It does."""
        return True

    @property
    def dtype(self) -> torch.dtype:
        """That of the network."""
        decides = deciding_tensor(self.encoder.network)
        return torch.float32 if decides is None else decides.dtype


@dataclass(frozen=True)
class PooledTail:
    """A pooling and a head."""

    pooling: Pooling
    head: nn.Module

    def __call__(
        self,
        maps: Float[Tensor, "image channel h w"],
        images: Float[Tensor, "image color height width"] | None = None,  # noqa: ARG002 - the signature of every tail
    ) -> Float[Tensor, "image embedding"]:
        """Pool the maps and apply the head."""
        with evaluating(self.head), torch.enable_grad():
            embedding: Tensor = self.head(self.pooling(maps).clone())
        return embedding

    @property
    def needs_images(self) -> bool:
        """It does not."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """That of any maps, which the head is to have."""
        return torch.float64


def tolerance_of(tail: Tail, maps: Tensor) -> float:
    """Return by how much of its absolute terms an integral along maps may miss what it has to add up to."""
    if tail.dtype in HALF:
        return 1e-2
    return 1e-10 if maps.dtype == tail.dtype == torch.float64 else 1e-5
