"""Supports of three classes with one to three shots, chosen by hypothesis."""

import torch
from embedding_strategies import embeddings, shot_masks
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from fsl_explain.classifiers import SupportSet

WAY, SHOT, CHANNELS = 3, 3, 4
CLASSES = ("a", "b", "c")


@st.composite
def shots(draw) -> tuple[Tensor, Tensor]:
    """Embeddings, and which of them are real; no class has a mean near 0."""
    supports, valid = draw(embeddings(WAY, SHOT, CHANNELS)), draw(shot_masks(WAY, SHOT))
    means = torch.stack([supports[c][valid[c]].mean(dim=0) for c in range(WAY)])
    assume((means.norm(dim=-1) > 0.05).all())
    return supports, valid


def support_set_of(drawn: tuple[Tensor, Tensor]) -> SupportSet:
    """Made outside of the strategy, where beartype's random spot checks disturb no drawing."""
    return SupportSet(*drawn, CLASSES)


def similarities_to(supports: SupportSet, query: Tensor, similarity) -> Tensor:
    """One row per query, one entry per support, padding included."""
    return similarity.pairwise(query, supports.embeddings.flatten(0, 1)).unflatten(-1, supports.valid.shape)


def real_ones(values: Tensor, valid: Tensor) -> list[list]:
    """Drop the padding: one list per class."""
    return [row[keep].tolist() for row, keep in zip(values, valid, strict=True)]
