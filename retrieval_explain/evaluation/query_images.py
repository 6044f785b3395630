"""The queries of an evaluation, embedded once: of a few thousand the pixels and maps stay, others are read again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.batches import slices
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.image_store import Advance, ImageStore, embed_unique

IMAGES_AT_ONCE = 512
IMAGES_KEPT = 4096
"""Some 4 GB at 224 pixels; explaining an image beyond costs one forward pass more, beside one per method and rule."""


@dataclass(frozen=True)
class QueryImages:
    """The embeddings of all queries, and what else is needed of them piece by piece."""

    encoder: Encoder
    dataset: LabeledImages
    images: Int[Tensor, "query"]  # data set indices, ascending
    batch_size: int
    embeddings: Float[Tensor, "query channel"]
    kept: Sequence[ImageStore]  # of the first pieces

    @classmethod
    def embed(
        cls, encoder: Encoder, dataset: LabeledImages, images: Int[Tensor, "query"], batch_size: int, advance: Advance
    ) -> "QueryImages":
        """Read and embed every image; ``advance`` is told of images done."""
        kept: list[ImageStore] = []
        embeddings = []
        for piece in images.split(IMAGES_AT_ONCE):
            store = embed_unique(encoder, dataset, piece.tolist(), batch_size, advance)
            embeddings.append(store.embeddings)
            if (len(kept) + 1) * IMAGES_AT_ONCE <= IMAGES_KEPT:
                kept.append(store)
        return cls(encoder, dataset, images, batch_size, torch.cat(embeddings), kept)

    @property
    def pieces(self) -> tuple[slice, ...]:
        """Consecutive queries that are opened together."""
        return tuple(slices(len(self.images), IMAGES_AT_ONCE))

    def store(self, number: int) -> ImageStore:
        """Return the images of a piece, each the row of its place in the piece."""
        return self.kept[number] if number < len(self.kept) else self._again(self.pieces[number])

    def _again(self, part: slice) -> ImageStore:
        """Read and embed a piece again; its embeddings stay those that were decided by, to the last bit."""
        store = embed_unique(self.encoder, self.dataset, self.images[part].tolist(), self.batch_size, lambda _: None)
        return replace(store, embeddings=self.embeddings[part])
