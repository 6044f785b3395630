"""Explanations written down by hand, so that pictures and pages are tested without any network."""

import torch

from fsl_explain.classifiers import Decision
from fsl_explain.explainers import Explanation

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
    values = {
        "method": method,
        "decision": Decision(0, torch.linspace(0.75, 0.25, way), (CLASSES * way)[:way]),
        "target": 0,
        "against": against,
        "score": contributions.sum() + 0.25,
        "contributions": contributions,
        "cells": cells,
        "bias": torch.tensor(0.25),
        "saliency": saliency if signed else saliency.clamp(min=0),
        "support_cells": support_cells,
        "support_bias": torch.tensor(0.0),
        "image": torch.rand(3, *SIZE, generator=generator),
        "support_images": torch.rand(way, 2, 3, *SIZE, generator=generator) if photographs else None,
        "signed": signed,
    }
    return Explanation(**(values | changed))


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
    doubled = {
        name: torch.stack([getattr(one, name)] * 2)
        for name in ("score", "contributions", "cells", "bias", "saliency", "support_cells", "support_bias", "image")
    }
    decision = Decision(torch.tensor([0, 0]), torch.stack([one.decision.scores] * 2), one.decision.classes)
    return written_explanation(**doubled, decision=decision, target=torch.tensor([0, 0]))
