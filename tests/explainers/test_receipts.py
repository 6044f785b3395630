"""The receipt: channels, cells and supports each add up to the score, for every combination of the parts."""

import jaxtyping
import pytest
import torch
from decision_parts import ADD_UP, QUICK_RULES, TAKEN_BY, similarities_of
from tiny_encoder import HEADS, images, random_head, tiny_encoder, width_of

from fsl_explain import Encoder, explain
from fsl_explain.classifiers import is_local
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.heads import POOLINGS

PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-5}
SHOTS = {"a": 3, "b": 1, "c": 2}


@pytest.fixture
def unchecked_shapes(monkeypatch):
    """Other tests check the shapes of the same calls; here the checks would take most of the time."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def ragged_supports(dtype=torch.float64):
    return {name: images(shots, seed=20 + shots, dtype=dtype) for name, shots in SHOTS.items()}


def choice_of(method, rule, similarity):
    return Choice(rule, similarity, target=None, scale=7.0, threshold=0.25 if method == "verification" else None)


def sums(explanation):
    """Each way to add up the score, with the sum of its absolute terms."""
    on_query = explanation.cells.double()
    on_supports = explanation.support_cells.double()
    bias, support_bias = explanation.bias.double(), explanation.support_bias.double()
    addends = torch.stack([explanation.support_shares, explanation.support_biases])
    constants = torch.stack([torch.zeros(len(bias)).double(), *explanation.constants.values()])
    return {
        "contributions": (explanation.contributions.double().sum(-1) + bias, explanation.absolute_sum.double()),
        "cells": (on_query.sum((-2, -1)) + bias, on_query.abs().sum((-2, -1)) + bias.abs()),
        "support cells": (
            on_supports.nansum((-4, -3, -2, -1)) + support_bias,
            on_supports.abs().nansum((-4, -3, -2, -1)) + support_bias.abs(),
        ),
        "supports": (
            addends.sum((0, -2, -1)) + constants.sum(0),
            addends.abs().sum((0, -2, -1)) + constants.abs().sum(0),
        ),
        "similarities": (
            (explanation.support_weights * explanation.similarities).nansum((-2, -1)) + constants.sum(0),
            addends.abs().sum((0, -2, -1)) + constants.abs().sum(0),
        ),
    }


def assert_adds_up(explanation, tolerance):
    """Up to the tolerance, or below the smallest normal number, where a probability is 1 but for that."""
    score, tiny = explanation.score.double(), torch.finfo(explanation.score.dtype).tiny
    for way, (total, absolute) in sums(explanation).items():
        assert ((total - score).abs() <= tolerance * absolute + tiny).all(), (explanation.method, way, total, score)
    assert (explanation.residual.double() <= tolerance * explanation.absolute_sum.double() + tiny).all()
    cells, pixels = explanation.cells.double(), explanation.saliency.double()
    difference = (pixels.sum((-2, -1)) - cells.sum((-2, -1))).abs()
    assert (difference <= tolerance * cells.abs().sum((-2, -1)) + tiny).all()
    receipt = explanation[-1].receipt()
    assert receipt.residual <= tolerance * receipt.absolute_sum + tiny, (explanation.method, str(receipt))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_combination_adds_up(pooling, head, dtype):
    encoder = tiny_encoder(random_head(head, width_of(pooling)), pooling, dtype)
    queries = images(3, seed=10, dtype=dtype)
    compared = compare(encoder, queries[:2], ragged_supports(dtype), unlabeled=queries)
    similarities = similarities_of(compared.features.embedding.shape[-1])
    for name, rule in QUICK_RULES.items():
        if is_local(rule) and not (pooling == "gap" or (pooling, head) == ("flatten", "none")):
            continue  # these pool nothing, and take a head on each cell alone
        if is_local(rule) and head == "power-l2":
            continue  # which makes zeros of whole cells, so that classes tie and nothing is left to add up
        for kind in TAKEN_BY.get(name, similarities):
            if is_local(rule) and pooling == "flatten" and kind == "mahalanobis":
                continue  # of as many numbers as all cells have
            for method in ADD_UP:
                found = explain_compared(compared, method, choice_of(method, rule, similarities[kind]))
                assert found.score.dtype == found.cells.dtype == dtype
                assert_adds_up(found, PRECISIONS[dtype])


def test_a_photographed_sized_map_adds_up_in_single_precision():
    """Many channels and cells, and two classes that hardly differ: a small difference of large scores."""
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 256, 8, stride=8), torch.nn.ReLU())
    encoder = Encoder.wrap(network, "1")
    queries = torch.randn(1, 3, 56, 56, generator=generator)
    support = torch.randn(1, 3, 56, 56, generator=generator)
    supports = torch.stack([support, support + 1e-3 * torch.randn(1, 3, 56, 56, generator=generator)])
    for method in ("exact", "contrast"):
        assert_adds_up(explain(encoder, queries, supports, method=method), 1e-5)
