"""What an encoder makes of images: maps, their pooled values, and embeddings."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import precise
from fsl_explain.finer import Finer, one_behind_another
from fsl_explain.traces import Trace, behind_each_other, indexed, unflattened


@dataclass(frozen=True)
class Features:
    """What an encoder makes of images, with any leading dimensions.

    ``maps`` are the activation maps A, and ``pooled`` is Z, of as many values as there are maps, unless it is made
    otherwise than by pooling each. ``embedding`` is Z' = head(Z), which the similarity compares. ``trace`` says who
    wrote Z; None: the pooling of the maps does. ``finer`` draws the maps' cells on a finer grid; None: nothing does.
    """

    maps: Float[Tensor, "*batch channel h w"]
    pooled: Float[Tensor, "*batch pooled"]
    embedding: Float[Tensor, "*batch embedding"]
    trace: Trace | None = None
    finer: Finer | None = None

    def __getitem__(self, index: Any) -> "Features":
        """Index the leading dimensions of all alike; a tensor of places is an index, too."""
        finer = None if self.finer is None else self.finer.of([part[index] for part in self.finer.parts()])
        trace = indexed(self.trace, index)
        return Features(self.maps[index], self.pooled[index], self.embedding[index], trace, finer)

    def in_float64(self) -> "Features":
        """Return pooled values and embeddings in float64; the maps, much larger, stay as they are."""
        return Features(self.maps, precise(self.pooled), precise(self.embedding), self.trace, self.finer)

    def unflatten(self, *leading: int) -> "Features":
        """Give the one leading dimension the shape ``leading``, such as way and shot, whose product it is."""
        maps, pooled, embedding = (value.unflatten(0, leading) for value in (self.maps, self.pooled, self.embedding))
        finer = None
        if self.finer is not None:
            finer = self.finer.of([part.unflatten(0, leading) for part in self.finer.parts()])
        return Features(maps, pooled, embedding, unflattened(self.trace, leading), finer)


def joined(parts: list[Features]) -> Features:
    """Return features of batches of images behind each other."""
    maps, pooled, embedding = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("maps", "pooled", "embedding")
    )
    trace = behind_each_other([part.trace for part in parts])
    return Features(maps, pooled, embedding, trace, one_behind_another([part.finer for part in parts]))
