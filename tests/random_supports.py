"""Supports of a classifier as random embeddings, ragged and padded with values that must have no say."""

import torch

from fsl_explain.classifiers import SupportSet


def supports_of(shots: tuple[int, ...], channels: int, seed: int = 0) -> SupportSet:
    """Embeddings of norm about √channels; the padding is large, so that it would be noticed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(shots), max(shots), channels, generator=generator, dtype=torch.float64)
    valid = torch.arange(max(shots)) < torch.tensor(shots)[:, None]
    classes = tuple(f"class {i}" for i in range(len(shots)))
    return SupportSet(torch.where(valid[..., None], drawn, 50 * drawn), valid, classes)
