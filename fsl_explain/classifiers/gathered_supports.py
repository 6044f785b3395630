"""Features of supports, listed class after class, as the padded set that rules take."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.position import position
from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.encoder import Features


def support_set(features: Features, shots: Sequence[int] | Int[Tensor, "way"], classes: tuple[str, ...]) -> SupportSet:
    """Gather the features of supports, listed class after class, into one padded set, embeddings in float64.

    ``shots`` are how many supports each class has, ``classes`` its names, both in the order of the features.

    Raises: ``ValueError`` for numbers that do not fit each other, and as ``padded_index``.
    """
    given, shots = len(features.embedding), _whole_numbers(shots)
    if len(shots) != len(classes) or sum(shots) != given:
        raise Mistake(
            f"expected supports of {len(classes)} classes, {given} in all, but got the numbers of shots {shots}; "
            "give one a class."
        )
    index, valid = padded_index(shots)
    device = features.embedding.device
    gathered = features[index.to(device)]
    return SupportSet(gathered.embedding.double(), valid.to(device), classes, gathered.in_float64())


def padded_index(shots: Sequence[int] | Int[Tensor, "way"]) -> tuple[Int[Tensor, "way shot"], Bool[Tensor, "way shot"]]:
    """Return where each support of each class stands in a flat list, and which entries are real.

    ``shots`` are how many each class has. Padding repeats the class's first support, so that no entry is undefined.

    Raises: ``ValueError`` for no class, or a class without supports; ``TypeError`` for what is no whole number.
    """
    shots = _whole_numbers(shots)
    if not shots or min(shots) < 1:
        raise Mistake(f"expected at least one support of each class, but got the numbers {shots}; add some.")
    counts = torch.tensor(shots)
    starts = counts.cumsum(0) - counts
    offsets = torch.arange(int(counts.max()))
    valid = offsets[None] < counts[:, None]
    return starts[:, None] + torch.where(valid, offsets[None], 0), valid


def _whole_numbers(shots: Sequence[int] | Int[Tensor, "way"]) -> list[int]:
    """Return how many supports each class has as plain numbers; they may be in an array or a tensor."""
    return [position(one, "the number of supports of each class as whole numbers") for one in shots]
