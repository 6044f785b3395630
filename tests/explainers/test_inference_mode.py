"""Explanations are the same without gradients, in inference mode, and for supports embedded there."""

import pytest
import torch
from decision_parts import OPTIONS, PAIRS, QUICK_RULES
from tiny_encoder import OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import explain


def explained_in_inference_mode(encoder, features, **options):
    with torch.inference_mode():
        supports = encoder(images(6, seed=2)).unflatten(3, 2) if features else images(3, 2, seed=2)
        return explain(encoder, images(2, seed=1), supports, **options)


@pytest.mark.parametrize("method", OF_MAPS)
def test_every_method_works_in_inference_mode(method):
    encoder, options = tiny_encoder(random_head("linear")), OPTIONS.get(method, {})
    usual = explain(encoder, images(2, seed=1), images(3, 2, seed=2), method=method, **options)
    for features in (False, True):
        found = explained_in_inference_mode(encoder, features, method=method, **options)
        assert torch.equal(found.cells, usual.cells)
        assert torch.equal(found.saliency, usual.saliency)


@pytest.mark.parametrize("method", ["contrast", "grad-cam"])
@pytest.mark.parametrize(("rule", "similarity"), [*PAIRS, ("prototype", "mahalanobis")], ids=str)
def test_every_rule_works_in_inference_mode(rule, similarity, method):
    encoder = tiny_encoder(random_head("linear"))
    usual = explain(
        encoder, images(2, seed=1), images(3, 2, seed=2), method=method, rule=QUICK_RULES[rule], similarity=similarity
    )
    for features in (False, True):
        found = explained_in_inference_mode(
            encoder, features, method=method, rule=QUICK_RULES[rule], similarity=similarity
        )
        assert torch.equal(found.cells, usual.cells)
