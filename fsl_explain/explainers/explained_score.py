"""Which number of a decision is explained.

A class's score, its lead over rivals, its log-probability, or its distance to a threshold: each is a
combination of class scores plus constants. Notation: α is the scale of the scores inside the
softmax, p the probabilities, H their entropy, θ the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import combined
from fsl_explain.explainers.contrast_weights import Against, rival_weights

Quantity = Literal["score", "contrast", "log-probability", "verification"]
ENTROPY = "minus the entropy of the probabilities"
THRESHOLD = "minus the threshold"


@dataclass(frozen=True)
class ExplainedScore:
    """A number Δ = Σ_c weight_c score_c + Σ constants, with Δ computed by a route of its own."""

    value: Float[Tensor, "*batch"]  # Δ
    class_weights: Float[Tensor, "*batch way"]
    constants: Mapping[str, Float[Tensor, "*batch"]]
    rivals: Float[Tensor, "*batch way"] | None = None  # share of each rival in a contrast


def score_of(scores: Float[Tensor, "*batch way"], target: Int[Tensor, "*batch"]) -> ExplainedScore:
    """Explain the target's own score."""
    return ExplainedScore(_at(scores, target), _one_hot(scores, target), {})


def lead_over(
    scores: Float[Tensor, "*batch way"],
    ranking: Float[Tensor, "*batch way"],
    target: Int[Tensor, "*batch"],
    against: Against,
    classes: tuple[str, ...],
) -> ExplainedScore:
    """Explain the target's score minus the mean of its rivals'; ``ranking`` says who is the runner-up.

    A rival without any vote scores minus infinity and is left out; where none is left, the target's own
    score is explained, and the rivals are all 0.
    """
    silent = scores.isneginf() | (_one_hot(scores, target) == 1)  # with no rival left, the target is its own runner-up
    rivals = rival_weights(ranking, target, against, classes).masked_fill(silent, 0)
    total = rivals.sum(dim=-1, keepdim=True)
    rivals = torch.where(total > 0, rivals / torch.where(total > 0, total, 1), 0)
    lead = _at(scores, target) - combined(rivals, scores)
    return ExplainedScore(lead, _one_hot(scores, target) - rivals, {}, rivals)


def log_probability(scores: Float[Tensor, "*batch way"], target: Int[Tensor, "*batch"], scale: float) -> ExplainedScore:
    """Explain log p_a = α(S_a - E_p[S]) - H(p), p the softmax of α times the scores.

    Where p_a is nearly 1 all of these are tiny: they are computed from the other classes' probabilities, not
    as differences from 1, so that they add up to their own size.
    """
    scaled, chosen = scale * scores, _one_hot(scores, target)
    probabilities = scaled.softmax(dim=-1)
    others = torch.where(chosen == 1, 0, probabilities)
    rest = others.sum(dim=-1)
    odds = (scaled - _at(scaled, target)[..., None]).masked_fill(chosen == 1, -torch.inf).logsumexp(dim=-1)
    own_entropy = torch.where(
        rest < 0.5, (rest - 1) * torch.log1p(-rest), torch.special.entr(_at(probabilities, target))
    )
    entropy = own_entropy + torch.special.entr(others).sum(dim=-1)
    weights = scale * (chosen * rest[..., None] - others)
    return ExplainedScore(-torch.logaddexp(odds, torch.zeros_like(odds)), weights, {ENTROPY: -entropy})


def distance_to_threshold(
    scores: Float[Tensor, "*batch way"], target: Int[Tensor, "*batch"], threshold: float
) -> ExplainedScore:
    """Explain S - θ: at or above 0 the claim that the query is of the target's class is accepted."""
    explained = score_of(scores, target)
    constant = torch.full_like(explained.value, -threshold)
    return ExplainedScore(explained.value - threshold, explained.class_weights, {THRESHOLD: constant})


def _at(scores: Tensor, target: Tensor) -> Tensor:
    return scores.gather(-1, target[..., None]).squeeze(-1)


def _one_hot(scores: Tensor, target: Tensor) -> Tensor:
    return F.one_hot(target, scores.shape[-1]).to(scores.dtype)
