"""What a training asks of an objective: which images a step needs, and the loss of them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.reading import Reading
from fsl_explain.encoder import Encoder
from fsl_explain.heads import Pooling


@dataclass(frozen=True)
class Batch:
    """The images of one step: units that belong together, such as the images of an episode."""

    pixels: Float[Tensor, "view unit image 3 height width"]
    images: Int[Tensor, "unit image"]  # indices into the data set
    labels: Int[Tensor, "unit image"]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        moved = (part.to(device, non_blocking=True) for part in (self.pixels, self.images, self.labels))
        return Batch(*moved)


@runtime_checkable
class Objective(Protocol):
    """A loss with everything that learns or remembers as its parameters and buffers; an ``nn.Module``.

    Law: ``draw`` is a pure function of the settings and the step, and ``forward`` of the state, the batch and
    PyTorch's random numbers; so that state and step are all that an unfinished training has to keep.
    """

    views: int  # augmented versions of each image

    def draw(self, step: int) -> Int64[np.ndarray, "unit image"]:
        """Return the images of a step."""
        ...

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss."""
        ...


class Embedder(nn.Module):
    """The encoder's network, pooling and head as one module that learns.

    It computes in ``precision`` where one is given; its embeddings are as precise as the images, because an exponential
    of similarities over a temperature leaves the range of 16 bits.
    """

    def __init__(self, encoder: Encoder, precision: torch.dtype | None = None) -> None:
        super().__init__()
        self.network: nn.Module = encoder.network
        self.head: nn.Module = encoder.head
        self.pooling: Pooling = encoder.pooling
        self.precision: torch.dtype | None = precision
        self.reading: Reading = encoder.reading

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch embedding"]:
        """Return the embeddings."""
        with torch.autocast(images.device.type, dtype=self.precision, enabled=self.precision is not None):
            embeddings: Tensor = self.head(self.pooling(self.reading.in_order(self.network(images), images)))
        return embeddings.to(images.dtype)


def shuffled_images(images: int, batch_size: int, seed: int, step: int) -> Int64[np.ndarray, "unit 1"]:
    """Return the images of a step that goes through all of them in a new order every epoch; a short rest is dropped.

    Raises: ``ValueError`` for more images in a batch than there are.
    """
    if batch_size > images:
        raise Mistake(f"a batch needs {batch_size} images, but there are {images}; lower objective.batch_size.")
    epoch, batch = divmod(step, images // batch_size)
    order = np.random.default_rng((seed, epoch)).permutation(images)
    return order[batch * batch_size : (batch + 1) * batch_size, None]


def embedding_width(embedder: Embedder, size: int) -> int:
    """Return the channels of the embedding, from one forward pass in eval mode of an image of zeros."""
    parameter = next(embedder.parameters())
    image = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
    with evaluating(embedder):
        return int(embedder(image).shape[1])
