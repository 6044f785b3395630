"""Decisions over the neighbors of many queries at once: what class each vote chooses, and which comes second.

The same scores as ``fsl_explain.classifiers`` gives over supports, from similarities and labels alone. Notation: v_c
is the vote of class c, τ the temperature.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import KnnVote, MajorityVote, Rule

NOBODY = -1


@dataclass(frozen=True)
class Chosen:
    """The class each query is given, the best other class that has a neighbor (-1: none), and their scores.

    ``lead`` is the chosen class's score minus the runner-up's, which a contrast explains; where there is no
    runner-up it is the score itself.
    """

    predicted: Int[Tensor, "query"]
    runner_up: Int[Tensor, "query"]
    score: Float[Tensor, "query"]
    lead: Float[Tensor, "query"]


def choose(rule: Rule, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int) -> Chosen:
    """Let all the neighbors decide by a rule; the lowest class wins a tie, as over supports."""
    scores, ranking = class_scores(rule, similarities, labels, classes)
    predicted = ranking.argmax(dim=1)
    others = ranking.masked_fill(scores.isneginf(), -torch.inf).scatter(1, predicted[:, None], -torch.inf)
    second = others.argmax(dim=1)
    is_alone = others.amax(dim=1).isneginf()
    score = scores.gather(1, predicted[:, None])[:, 0]
    lead = torch.where(is_alone, score, score - scores.gather(1, second[:, None])[:, 0])
    return Chosen(predicted, second.masked_fill(is_alone, NOBODY), score, lead)


def class_scores(
    rule: Rule, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
) -> tuple[Float[Tensor, "query way"], Float[Tensor, "query way"]]:
    """Return each class's score, minus infinity without a neighbor, and what the decision is the largest of.

    log v_c with v_c = Σ exp(s/τ) for the weighted vote, the mean of the voters and their number for the majority
    vote, the largest similarity otherwise.
    """
    zeros = similarities.new_zeros(len(similarities), classes)
    if isinstance(rule, MajorityVote):
        count = zeros.scatter_add(1, labels, torch.ones_like(similarities))
        mean = zeros.scatter_add(1, labels, similarities) / count
        return mean.masked_fill(count == 0, -torch.inf), count
    best = torch.full_like(zeros, -torch.inf).scatter_reduce(1, labels, similarities, "amax")
    if isinstance(rule, KnnVote):
        below_best = (similarities - best.gather(1, labels)) / rule.temperature
        best = best / rule.temperature + zeros.scatter_add(1, labels, below_best.exp()).log()
    return best, best
