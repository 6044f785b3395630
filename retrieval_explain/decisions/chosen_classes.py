"""Decisions over the neighbors of many queries at once: what class each vote chooses, and which comes second.

The same scores as a rule gives over supports, from similarities and labels alone; the rule itself computes both.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import NeighborRule

NOBODY = -1


@dataclass(frozen=True)
class Chosen:
    """The class each query is given, the best other class that has a neighbor, and their scores.

    ``predicted`` and ``runner_up`` are numbers of classes; the latter is -1 where no other class has a neighbor.
    ``score`` is the chosen class's by the rule, as a log vote or a mean similarity. ``lead`` is that minus the
    runner-up's, which a contrast explains: below 0 only where a majority of less similar neighbors has won. Where there
    is no runner-up it is the score itself.
    """

    predicted: Int[Tensor, "query"]
    runner_up: Int[Tensor, "query"]
    score: Float[Tensor, "query"]
    lead: Float[Tensor, "query"]


def choose(
    rule: NeighborRule, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
) -> Chosen:
    """Let all the neighbors decide by a rule; the lowest class wins a tie, as over supports."""
    scores, ranking = rule.scores_of_voters(similarities, labels, classes)
    predicted = ranking.argmax(dim=1)
    others = ranking.masked_fill(scores.isneginf(), -torch.inf).scatter(1, predicted[:, None], -torch.inf)
    second = others.argmax(dim=1)
    is_alone = others.amax(dim=1).isneginf()
    score = scores.gather(1, predicted[:, None])[:, 0]
    lead = torch.where(is_alone, score, score - scores.gather(1, second[:, None])[:, 0])
    return Chosen(predicted, second.masked_fill(is_alone, NOBODY), score, lead)
