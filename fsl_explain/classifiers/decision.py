"""What a few-shot classifier is given and what it decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.encoder import Features
from fsl_explain.similarities import Similarity


@dataclass(frozen=True)
class SupportSet:
    """The labeled images of an episode, padded to one number of shots; ``valid`` marks the real ones.

    ``features`` holds their activation maps where the support side is explained, and is None where
    only embeddings are kept.
    """

    embeddings: Float[Tensor, "*batch way shot channel"]
    valid: Bool[Tensor, "*batch way shot"]
    classes: tuple[str, ...]
    features: Features | None = None


@dataclass(frozen=True)
class Decision:
    """The score of every class, and the class with the largest; the lowest index wins a tie."""

    label: int | Int[Tensor, "*batch"]
    scores: Float[Tensor, "*batch way"]
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the decided class, for a single query."""
        return self.classes[int(self.label)]


@runtime_checkable
class Rule(Protocol):
    """How similarities to supports become class scores.

    Law: ``(weights * similarities).sum(-1) + constant`` is ``class_scores``, by another route.
    """

    def class_scores(
        self, query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Score every class; larger is more alike."""
        ...

    def weights(
        self, supports: SupportSet, similarity: Similarity
    ) -> tuple[Float[Tensor, "*episodes way shot"], Float[Tensor, "*episodes way"]]:
        """Return the weight of each support's similarity in its class's score, and each class's constant."""
        ...


def decide(scores: Float[Tensor, "*batch way"], classes: tuple[str, ...]) -> Decision:
    """Pick the class with the largest score; the lowest index wins a tie."""
    label = scores.argmax(dim=-1)
    return Decision(label=int(label) if label.dim() == 0 else label, scores=scores, classes=classes)


def pairwise_to_supports(
    query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way shot"]:
    """Return the similarity of each query to each of its supports."""
    gallery = supports.embeddings.flatten(start_dim=-3, end_dim=-2)
    similarities = similarity.pairwise(query[..., None, :], gallery).squeeze(-2)
    return similarities.reshape(*similarities.shape[:-1], *supports.valid.shape[-2:])


def support_set(features: Features, shots: Sequence[int], classes: tuple[str, ...]) -> SupportSet:
    """Gather the features of supports, listed class after class, into one padded set, embeddings in float64."""
    index, valid = padded_index(shots)
    device = features.embedding.device
    gathered = features[index.to(device)]
    return SupportSet(gathered.embedding.double(), valid.to(device), classes, gathered.in_float64())


def padded_index(shots: Sequence[int]) -> tuple[Int[Tensor, "way shot"], Bool[Tensor, "way shot"]]:
    """Return where each support of each class stands in a flat list, and which entries are real.

    Padding repeats the class's first support, so that no entry is ever undefined.
    """
    counts = torch.tensor(shots)
    starts = counts.cumsum(0) - counts
    offsets = torch.arange(int(counts.max()))
    valid = offsets[None] < counts[:, None]
    return starts[:, None] + torch.where(valid, offsets[None], 0), valid
