"""Explanations written down by hand, so that pictures and pages are tested without any network."""

from dataclasses import replace

import torch

from fsl_explain.classifiers import RULES, Decision, SupportSet
from fsl_explain.encoder import Features
from fsl_explain.explainers import Explanation
from fsl_explain.explainers.explained_score import ExplainedScore
from fsl_explain.explainers.explanation import Question
from fsl_explain.heads import POOLINGS
from fsl_explain.similarities import SIMILARITIES

CLASSES = ("gull", '<b>&"x', "$tern$")
CONTRIBUTIONS = [0.5, -0.25, 0.125, 0.0625, 0.03125, -0.015625, 0.0078125, 0.00390625, 0.001953125, 0.0]
SIZE = (20, 24)


def written_explanation(method="exact", against=None, signed=True, way=3, photographs=True, **changed) -> Explanation:
    """Make an explanation of class 0 that adds up; class 1 has one support, the others two."""
    generator = torch.Generator().manual_seed(0)
    contributions = torch.tensor(CONTRIBUTIONS)
    cells = torch.linspace(-0.5, 1, 12).reshape(3, 4)
    support_cells = torch.zeros(way, 2, 3, 4)
    support_cells[0] = cells
    if against is not None:
        support_cells[against > 0] = -cells
    support_cells[1, 1] = torch.nan
    saliency = torch.nn.functional.interpolate(cells[None, None], size=SIZE, mode="bilinear")[0, 0]
    score, classes = contributions.sum() + 0.25, (CLASSES * way)[:way]
    ranking = torch.linspace(0.75, 0.25, way)
    values = {
        "method": method,
        "decision": Decision(0, ranking, classes),
        "target": 0,
        "against": against,
        "score": score,
        "contributions": contributions,
        "cells": cells,
        "bias": torch.tensor(0.25),
        "saliency": saliency if signed else saliency.clamp(min=0),
        "support_cells": support_cells,
        "support_bias": torch.tensor(0.0),
        "image": torch.rand(3, *SIZE, generator=generator),
        "support_images": torch.rand(way, 2, 3, *SIZE, generator=generator) if photographs else None,
        "signed": signed,
        "question": written_question(score, ranking, classes, against),
        "constants": {},
        **written_addends(score, way, against),
    }
    return Explanation(**(values | changed))


def written_addends(score, way, against):
    """Similarities and weights of the supports whose products sum to the score; a quarter of it is bias."""
    valid = shots_of(way)
    shares = torch.eye(way)[0] - (0 if against is None else against)
    weights = (shares[:, None] * valid / valid.sum(dim=1, keepdim=True)).double()
    similarities = torch.full((way, 2), 0.125, dtype=torch.float64)
    similarities[0] = score.double() + (0 if against is None else 0.125)
    biases = weights * similarities * 0.25 / score.double()
    return {
        "similarities": similarities.masked_fill(~valid, torch.nan),
        "support_weights": weights,
        "support_shares": weights * similarities - biases,
        "support_biases": biases,
    }


def written_question(score, ranking, classes, against):
    """Supports along the first of ten channels, as long as their class's score: the decision is the one written."""
    way = len(classes)
    query, supports = torch.zeros(10, dtype=torch.float64), torch.zeros(way, 2, 10, dtype=torch.float64)
    query[0], supports[..., 0] = 1, ranking.double()[:, None]
    rivals = None if against is None else against.double()
    weights = torch.eye(way, dtype=torch.float64)[0] - (0 if against is None else rivals)
    return Question(
        query=rising_features(query),
        supports=SupportSet(supports, shots_of(way), classes, rising_features(supports)),
        explained=ExplainedScore(score.double(), weights, {}, rivals),
        ranking=ranking.double(),
        target=torch.tensor(0),
        rule=RULES["mean-similarity"],
        similarity=SIMILARITIES["inner-product"],
        pooling=POOLINGS["gap"],
        head=torch.nn.Identity(),
    )


def rising_features(embedding) -> Features:
    """Maps of 3 × 4 cells that rise from 0 to twice their mean."""
    rising = torch.linspace(0, 2, 12, dtype=torch.float64).reshape(3, 4)
    return Features(embedding[..., None, None] * rising, embedding, embedding)


def shots_of(way):
    """Class 1 has one support, the others two."""
    valid = torch.ones(way, 2, dtype=torch.bool)
    valid[1, 1] = False
    return valid


def written_contrast(way=3) -> Explanation:
    """Contrast class 0 with the mean of the others, or with class 1 where there are but two."""
    against = torch.full((way,), 1 / (way - 1))
    against[0] = 0
    return written_explanation("contrast", against=against, way=way)


def written_fam() -> Explanation:
    """Weights that do not add up to the score."""
    return written_explanation("fam", signed=False, bias=torch.tensor(0.0))


def written_lafam() -> Explanation:
    """A map without contributions."""
    undefined = torch.full((len(CONTRIBUTIONS),), torch.nan)
    return written_explanation("lafam", signed=False, contributions=undefined, bias=torch.tensor(torch.nan))


def batch_of_two() -> Explanation:
    """The same query twice, as a batch."""
    one = written_explanation()
    alone = {"support_images", "question", "constants"}
    tensors = {
        name: value for name, value in vars(one).items() if isinstance(value, torch.Tensor) and name not in alone
    }
    doubled = {name: torch.stack([value] * 2) for name, value in tensors.items()}
    decision = Decision(torch.tensor([0, 0]), torch.stack([one.decision.scores] * 2), one.decision.classes)
    return written_explanation(**doubled, decision=decision, target=torch.tensor([0, 0]), question=twice(one.question))


def twice(question: Question) -> Question:
    """Ask the same of two queries."""
    explained = question.explained
    return replace(
        question,
        query=question.query[None][[0, 0]],
        explained=ExplainedScore(explained.value.expand(2), explained.class_weights.expand(2, -1), {}),
        ranking=question.ranking.expand(2, -1),
        target=question.target.expand(2),
    )
