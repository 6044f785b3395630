"""The receipt: contributions, cells and supports each add up to the score, for every combination of the parts."""

import pytest
import torch
from tiny_encoder import HEADS, images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import RULES
from fsl_explain.heads import POOLINGS
from fsl_explain.similarities import SIMILARITIES

PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-5}
SHOTS = {"a": 3, "b": 1, "c": 2}

every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
every_head = pytest.mark.parametrize("head", HEADS)
every_rule = pytest.mark.parametrize("rule", RULES)
every_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)
every_precision = pytest.mark.parametrize("dtype", PRECISIONS, ids=str)


def ragged_supports(dtype=torch.float64):
    return {name: images(shots, seed=20 + shots, dtype=dtype) for name, shots in SHOTS.items()}


def sums(explanation):
    """Each way to add up the score, with the sum of its absolute terms."""
    on_query = explanation.cells.double()
    on_supports = explanation.support_cells.double()
    bias, support_bias = explanation.bias.double(), explanation.support_bias.double()
    return {
        "contributions": (explanation.contributions.double().sum(-1) + bias, explanation.absolute_sum.double()),
        "cells": (on_query.sum((-2, -1)) + bias, on_query.abs().sum((-2, -1)) + bias.abs()),
        "support cells": (
            on_supports.nansum((-4, -3, -2, -1)) + support_bias,
            on_supports.abs().nansum((-4, -3, -2, -1)) + support_bias.abs(),
        ),
    }


def assert_adds_up(explanation, tolerance):
    score = explanation.score.double()
    for way, (total, absolute) in sums(explanation).items():
        assert ((total - score).abs() < tolerance * absolute).all(), (explanation.method, way, total, score)
    assert (explanation.residual.double() < tolerance * explanation.absolute_sum.double()).all()
    cells, pixels = explanation.cells.double(), explanation.saliency.double()
    difference = (pixels.sum((-2, -1)) - cells.sum((-2, -1))).abs()
    assert (difference < tolerance * cells.abs().sum((-2, -1))).all()


@every_precision
@every_head
@every_pooling
def test_every_combination_adds_up(pooling, head, dtype):
    encoder = tiny_encoder(random_head(head), pooling, dtype)
    queries, supports = images(2, seed=10, dtype=dtype), ragged_supports(dtype)
    for similarity in SIMILARITIES:
        for rule in RULES:
            for method, choice in (("exact", {"target": 0}), ("contrast", {})):
                found = explain(encoder, queries, supports, method, rule, similarity, **choice)
                assert found.score.dtype == found.cells.dtype == dtype
                assert_adds_up(found, PRECISIONS[dtype])


@every_rule
@every_similarity
@pytest.mark.parametrize("against", ["others", 1, "c", [1, 2], ["b", 2], [0, 3]], ids=str)
def test_a_contrast_is_the_difference_of_two_exact_explanations(against, similarity, rule):
    encoder = tiny_encoder(random_head("linear"))
    query, supports = images(seed=10), ragged_supports() | {"d": images(2, seed=30)}
    choice = {"rule": rule, "similarity": similarity}
    target = "b" if against == [0, 3] else "a"
    contrast = explain(encoder, query, supports, "contrast", target=target, against=against, **choice)
    names = list(supports)
    rivals = [name for name in names if name != target] if against == "others" else against
    rivals = [names[r] if isinstance(r, int) else r for r in (rivals if isinstance(rivals, list) else [rivals])]
    mine = explain(encoder, query, supports, "exact", target=target, **choice)
    theirs = [explain(encoder, query, supports, "exact", target=rival, **choice) for rival in rivals]
    for name in ("score", "contributions", "cells", "bias", "saliency", "support_cells", "support_bias"):
        mean = sum(getattr(rival, name) for rival in theirs) / len(theirs)
        torch.testing.assert_close(getattr(contrast, name), getattr(mine, name) - mean, equal_nan=True, msg=name)
    expected = torch.tensor([(name in rivals) / len(rivals) for name in names], dtype=torch.float64)
    torch.testing.assert_close(contrast.against, expected)


def test_without_a_named_rival_each_query_is_contrasted_with_its_own_runner_up():
    encoder, queries, supports = tiny_encoder(), images(6, seed=10), ragged_supports()
    contrast = explain(encoder, queries, supports, "contrast")
    ranked = contrast.decision.scores.argsort(descending=True)
    assert len(set(ranked[:, 1].tolist())) > 1
    assert torch.equal(contrast.target, ranked[:, 0])
    assert torch.equal(contrast.against.argmax(dim=-1), ranked[:, 1])
    gap = contrast.decision.scores.gather(-1, ranked[:, :2]) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(contrast.score, gap)
    assert (contrast.score > 0).all()


def test_a_target_that_lost_is_contrasted_with_the_winner():
    encoder, query, supports = tiny_encoder(), images(seed=10), ragged_supports()
    scores = explain(encoder, query, supports).decision.scores
    loser = explain(encoder, query, supports, "contrast", target=int(scores.argmin()))
    assert loser.against.argmax() == scores.argmax()
    torch.testing.assert_close(loser.score, scores.min() - scores.max())


def test_a_photographed_sized_map_adds_up_in_single_precision():
    """Many channels and cells, and two classes that hardly differ: a small difference of large scores."""
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 256, 8, stride=8), torch.nn.ReLU())
    from fsl_explain import Encoder

    encoder = Encoder.wrap(network, "1")
    query = torch.randn(3, 56, 56, generator=generator)
    support = torch.randn(1, 3, 56, 56, generator=generator)
    supports = torch.stack([support, support + 1e-3 * torch.randn(1, 3, 56, 56, generator=generator)])
    for method in ("exact", "contrast"):
        assert_adds_up(explain(encoder, query, supports, method), 1e-5)
