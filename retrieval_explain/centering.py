"""Embeddings centered on the mean of a bank's; see ``fsl_explain.centering``."""

from pathlib import Path

import torch

from episodes.errors import Mistake
from fsl_explain.centering import FEWEST, centered_by
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.heads import Center
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import blocks


def centered_on(encoder: Encoder, bank: MemoryBank | str | Path) -> Encoder:
    """Return an encoder whose embeddings are those of ``encoder`` minus the mean of a bank's, opened or in a folder.

    What the images of the bank share is then gone, which else makes all of them alike (SimpleShot, Wang et al., 2019).
    The bank keeps its embeddings as they are; it is one of ``encoder`` itself, and is not searched by what is returned.

    Raises: ``FileNotFoundError`` where there is no bank; ``ValueError`` for a bank of another encoder, or of fewer than
    two images; ``TypeError`` for arguments in another order.
    """
    expect_encoder(encoder, "encoder, bank")
    opened = bank if isinstance(bank, MemoryBank) else MemoryBank.load(bank)
    opened.expect_encoder(encoder)
    if len(opened) < FEWEST:
        raise Mistake(f"expected a bank of at least {FEWEST} images to center on, but got {len(opened)}; add images.")
    total = torch.stack([block.double().sum(dim=0) for _, block in blocks(opened.rows)]).sum(dim=0)
    name = "the bank" if opened.directory is None else f"the bank {opened.directory.resolve().name}"
    return centered_by(encoder, Center((total / len(opened)).float()), f"the {len(opened)} images of {name}")
