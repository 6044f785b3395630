"""The local features of every image of a bank, for decisions that compare cells."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.progress import Report, silent
from retrieval_explain.local.local_building import build_local
from retrieval_explain.local.local_files import AGAIN, LocalFiles, opened, ties_of
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.store.encoder_fingerprint import expect_encoder as expect_made_by

FOLDER = "local"  # beside the files of a bank on disk


class LocalFeatures:
    """The cells of the last activation maps of a bank's images, each through the head alone; one row each.

    They lie on disk and are mapped: rows × cells × channels numbers, of 4 bytes each, or of 2 in float16. That of 543
    images by EfficientNet-Lite0 (49 cells of 1280 channels) is 136 MB, or 68 MB, some fifty times the bank. In float16
    each number is rounded by at most 2⁻¹¹ of itself (below 6e-5 by at most 3e-8), and one above 65504 is refused.
    Memory is that of a batch while they are made, and of the rows that are taken afterwards.

    Each row is sealed to what it was in the bank (id, content of the image or else its path, and embedding) and checked
    when it is first taken.

    Raises: ``ValueError`` for files of another number of rows than the bank has.
    """

    def __init__(self, bank: MemoryBank, files: LocalFiles) -> None:
        self.bank: MemoryBank = bank
        self.files: LocalFiles = files
        if files.described.rows != len(bank):
            raise Mistake(
                f"the local features {files.directory} are of {files.described.rows} rows, but the bank has "
                f"{len(bank)}; {AGAIN}."
            )
        self._checked = np.zeros(len(bank), dtype=bool)

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        bank: MemoryBank,
        *,
        directory: str | Path | None = None,
        dtype: str = "float32",
        batch_size: int = 16,
        report: Report = silent,
    ) -> "LocalFeatures":
        """Make the local features of a bank from its images, read by their paths, and keep them in a folder.

        ``directory`` is ``local`` in the bank's folder if None; ``dtype`` is float32 or float16. Those that are there
        stay until the new ones are whole. A build that was stopped is gone on with where it stopped, and rows that have
        not changed since the last whole one are taken over. ``report`` is told the stage, the images done since its
        last call, and all images.

        Raises: ``ValueError`` for an encoder that is not the bank's or has no local features (several scales, a tail, a
        readout that is no mean), a row without a path, an image that has changed since or that is embedded otherwise
        than its row, features that are not finite, or a bank in memory without a ``directory``; ``FileNotFoundError``
        for an image that is gone; ``OSError`` when the disk is full; ``TypeError`` for arguments in another order.
        """
        expect_encoder(encoder, "encoder, bank")
        _expect_bank(bank)
        build_local(encoder, bank, _folder(bank, directory), dtype, batch_size, report)
        return cls.load(bank, directory=directory)

    @classmethod
    def load(cls, bank: MemoryBank, *, directory: str | Path | None = None) -> "LocalFeatures":
        """Open the local features of a bank, those in its own folder if ``directory`` is None.

        Raises: ``FileNotFoundError`` where there are none; ``ValueError`` for damaged ones, those of another number of
        rows, or a bank in memory without a ``directory``; ``TypeError`` for anything but a bank.
        """
        _expect_bank(bank)
        return cls(bank, opened(_folder(bank, directory)))

    def __len__(self) -> int:
        return self.files.described.rows

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of an image's maps, in cells."""
        return self.files.described.height, self.files.described.width

    @property
    def channels(self) -> int:
        """How many numbers a cell has."""
        return self.files.described.channels

    @property
    def nbytes(self) -> int:
        """How many bytes the features of all rows have."""
        return len(self) * self.files.described.row_bytes

    def take(self, rows: Int[Tensor, "row"]) -> Float[Tensor, "row flat"]:
        """Return the local features of some rows, each channels × cells numbers, channel after channel, as float32.

        Raises: ``ValueError`` for a row that has changed in the bank since, or features that are damaged.
        """
        wanted = rows.tolist()
        new = [row for row in wanted if not self._checked[row]]
        for row, tie in zip(new, ties_of(self.bank, new), strict=True):
            if not self.files.fits(row, tie):
                raise Mistake(
                    f"row {row} of the bank has changed since its local features in {self.files.directory} were "
                    f"made, or they are of another bank; {AGAIN}."
                )
            if not self.files.is_whole(row):
                raise Mistake(
                    f"row {row} of {self.files.path} is damaged: its SHA-256 is not the recorded one; {AGAIN}."
                )
            self._checked[row] = True
        return torch.from_numpy(self.files.take(wanted))

    def expect_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder or a preprocessing other than those that made the features. Raises: ``ValueError``."""
        made = self.files.described
        what = f"the local features {self.files.directory} were made"
        expect_made_by(encoder, f"{made.encoder} #{made.fingerprint}", made.preprocessing, made.channels, what, AGAIN)


def _folder(bank: MemoryBank, directory: str | Path | None) -> Path:
    if directory is not None:
        return Path(directory)
    if bank.directory is None:
        raise Mistake("expected a folder for the local features of a bank that is in memory alone; give directory=.")
    return bank.directory / FOLDER


def _expect_bank(bank: object) -> None:
    if not isinstance(bank, MemoryBank):
        raise WrongType(f"expected a MemoryBank, but got {type(bank).__name__}; open one with MemoryBank.load.")
