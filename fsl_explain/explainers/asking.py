"""From decisions to the question of an explainer: the one place that knows what each quantity is a number of."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import Rule, SupportSet
from fsl_explain.devices import module_at_hand
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.contrast_weights import Against
from fsl_explain.explainers.explained_score import (
    ExplainedScore,
    Quantity,
    distance_to_threshold,
    lead_over,
    log_probability,
    score_of,
)
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.explainers.tails import NetworkTail, PooledTail, Tail
from fsl_explain.heads import Pooling
from fsl_explain.similarities import Similarity, has_form


@runtime_checkable
class Reading(Protocol):
    """How activation maps become an embedding: an encoder, or a part of one."""

    @property
    def pooling(self) -> Pooling:
        """From maps to one value per channel."""
        ...

    @property
    def head(self) -> torch.nn.Module:
        """From pooled values to the embedding."""
        ...


@dataclass(frozen=True)
class PooledHead:
    """A pooling and a head of their own over the maps of an encoder."""

    pooling: Pooling
    head: torch.nn.Module


@dataclass(frozen=True)
class Decided:
    """How a batch of queries was decided, and which class of each is asked about."""

    rule: Rule
    similarity: Similarity
    scores: Float[Tensor, "*batch way"]
    ranking: Float[Tensor, "*batch way"]  # what the decision is the largest of
    target: Int[Tensor, "*batch"]


@dataclass(frozen=True)
class Options:
    """What belongs to explaining one number rather than another; see ``explain``."""

    against: Against = None
    runner_up_by: Float[Tensor, "*batch way"] | None = None  # says who is the best rival; None: the ranking
    scale: float = 1.0
    threshold: float | None = None


PLAIN = Options()


def ask_about(
    explains: Quantity | Method,
    reading: Reading,
    query: Features,
    supports: SupportSet,
    decided: Decided,
    pixels: Pixels | None = None,
    options: Options = PLAIN,
) -> Question:
    """Ask about decisions: for a method, the number that it explains.

    ``reading`` is an encoder, or another pooling and head over the same maps. ``pixels`` are for methods that ask the
    network again.

    Raises: ``LookupError`` or ``ValueError`` for options that do not fit the number.
    """
    quantity = explains.explains if isinstance(explains, Method) else explains
    compared_by = getattr(decided.rule, "compared_by", None)
    similarity: Similarity = decided.similarity if compared_by is None else compared_by(decided.similarity, supports)
    return Question(
        query=query,
        supports=supports,
        explained=_explained(quantity, decided, supports.classes, options),
        ranking=decided.ranking,
        target=decided.target,
        rule=decided.rule,
        similarity=similarity,
        pooling=reading.pooling,
        head=module_at_hand(reading.head),
        pixels=pixels,
        tail=_tail(reading, similarity=similarity),
    )


def _tail(reading: Reading, similarity: Similarity) -> Tail | None:
    """Return what lies between maps and embedding where neither it nor the similarity has an exact form."""
    if isinstance(reading, Encoder) and reading.reading.tail.is_network:
        return NetworkTail(reading)
    return None if has_form(similarity) else PooledTail(reading.pooling, module_at_hand(reading.head))


def _explained(quantity: Quantity, decided: Decided, classes: tuple[str, ...], options: Options) -> ExplainedScore:
    scores, target = decided.scores, decided.target
    if quantity == "contrast":
        ranking = decided.ranking if options.runner_up_by is None else options.runner_up_by
        return lead_over(scores, ranking, target, options.against, classes)
    if quantity == "log-probability":
        if not 0 < options.scale < math.inf:
            raise Mistake(f"a log-probability needs a scale above 0 and below infinity, but got {options.scale}.")
        return log_probability(scores, target, float(options.scale))
    if quantity == "verification":
        if options.threshold is None:
            raise Mistake("a verification needs the threshold it was decided with; give threshold.")
        if not math.isfinite(options.threshold):
            raise Mistake(f"a verification needs a finite threshold, but got {options.threshold}.")
        return distance_to_threshold(scores, target, float(options.threshold))
    return score_of(scores, target)
