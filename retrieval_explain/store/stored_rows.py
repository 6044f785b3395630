"""The embeddings of a bank on disk as rows that a search reads in pieces."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retrieval_explain.store.files import StoredBank


@dataclass(frozen=True)
class StoredRows:
    """Rows of a bank on disk: mapped, and verified when they are first read."""

    stored: StoredBank

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return len(self.stored), self.stored.manifest.channels

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return consecutive rows."""
        rows = self.stored.rows(start, stop)
        return torch.from_numpy(rows if rows.flags.writeable else rows.copy())

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        return torch.from_numpy(self.stored.take(indices.numpy()))
