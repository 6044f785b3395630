"""A stored bank as the gallery of an evaluation: its images are embedded already."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from episodes import LabeledImage, read_image
from episodes.errors import Mistake
from retrieval_explain.memory_bank import MemoryBank


class BankGallery:
    """The images of a bank, with their embeddings; a data set whose images need not be there.

    Raises: ``ValueError`` for a bank in which an image has no class name.
    """

    def __init__(self, bank: MemoryBank, name: str) -> None:
        unlabeled = int((bank.labels < 0).sum())
        if unlabeled or not bank.classes:
            what = f"{unlabeled} images without a class" if unlabeled else "numbers instead of class names"
            raise Mistake(f"expected a bank whose images have class names, but {name} has {what}; import it again.")
        self.bank: MemoryBank = bank
        self.name: str = name
        self.classes: tuple[str, ...] = bank.classes
        self.labels: Int64[np.ndarray, "image"] = bank.labels.numpy()

    def __len__(self) -> int:
        return len(self.bank)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        if path is None:
            raise Mistake(f"row {position} of the bank {self.name} has no path; build the bank from images.")
        return LabeledImage(read_image(path), label, self.classes[label], path=path)

    @cached_property
    def paths(self) -> tuple[Path | None, ...]:
        """One path per image; None for an image that has none."""
        return tuple(Path(path) if path else None for path in self.bank.paths)

    @cached_property
    def embeddings(self) -> Float[Tensor, "image channel"]:
        """All embeddings in memory, in float32."""
        return self.bank.rows.read(0, len(self)).float()
