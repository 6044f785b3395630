"""What an encoder makes of images: maps, their pooled values, and embeddings."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import precise


@dataclass(frozen=True)
class Features:
    """What an encoder makes of images, with any leading dimensions."""

    maps: Float[Tensor, "*batch channel h w"]  # activation maps A
    pooled: Float[Tensor, "*batch channel"]  # Z
    embedding: Float[Tensor, "*batch embedding"]  # Z' = head(Z), which the similarity compares

    def __getitem__(self, index: Any) -> "Features":
        """Index the leading dimensions of all three alike."""
        return Features(self.maps[index], self.pooled[index], self.embedding[index])

    def in_float64(self) -> "Features":
        """Return pooled values and embeddings in float64; the maps, much larger, stay as they are."""
        return Features(self.maps, precise(self.pooled), precise(self.embedding))

    def unflatten(self, *leading: int) -> "Features":
        """Give the one leading dimension the shape ``leading``."""
        return Features(
            self.maps.unflatten(0, leading), self.pooled.unflatten(0, leading), self.embedding.unflatten(0, leading)
        )
