"""The heads that papers put behind a network: linear layers, ReLU between them, and embeddings of norm 1."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from episodes.errors import Mistake
from fsl_explain.heads.projection import L2Normalize


def projection_head(widths: Sequence[int], normalize: bool) -> nn.Sequential:
    """Return linear layers with bias and a ReLU between any two; ``widths`` lead from the maps to the embedding.

    With ``normalize`` embeddings have norm 1. Layers are numbered as in MoCo's ``fc``: 0 and 2 for a two-layer head.
    Weights are random, drawn as PyTorch does.

    Raises: ``ValueError`` for fewer than two widths, or one below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise Mistake(
            f"expected the channels of the maps and of the embedding, 1 or more, but got {list(widths)}; give both."
        )
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *([L2Normalize()] if normalize else []))
