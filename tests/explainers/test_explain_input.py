"""What explain() accepts in several forms gives one answer, of the stated shapes and scale."""

import dataclasses

import pytest
import torch
from decision_parts import ADD_UP, OPTIONS, PAIRS, QUICK_RULES
from tiny_encoder import CHANNELS, IMAGE, OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import METHODS, Features, explain, saliency

every_method = pytest.mark.parametrize("method", OF_MAPS)
OF_PIXELS = (  # their cells are the pixels themselves, or maps of their size
    *("relax", "u-relax", "occlusion"),
    *(name for name in OF_MAPS if METHODS[name].differentiates),
)


def assert_same(found, expected, skip=()):
    """Two explanations agree in every tensor, whatever the names of their classes."""
    for field in dataclasses.fields(expected):
        value, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, torch.Tensor) and field.name not in skip:
            torch.testing.assert_close(value, other, equal_nan=True, msg=field.name)
    torch.testing.assert_close(found.decision.scores, expected.decision.scores)
    assert found.constants.keys() == expected.constants.keys()
    for name, value in expected.constants.items():
        torch.testing.assert_close(found.constants[name], value)


@every_method
def test_supports_may_be_images_features_or_named(method):
    encoder, query, supports = tiny_encoder(random_head("linear")), images(seed=1), images(2, 3, seed=2)
    options = OPTIONS.get(method, {})
    by_images = explain(encoder, query, supports, method=method, **options)
    by_features = explain(encoder, query, encoder(supports.flatten(0, 1)).unflatten(2, 3), method=method, **options)
    by_name = explain(encoder, query, dict(zip("ab", supports, strict=True)), method=method, **options)
    assert_same(by_features, by_images, skip={"support_images"})
    assert_same(by_name, by_images)
    assert by_images.decision.classes == ("class 0", "class 1")
    assert by_name.decision.classes == ("a", "b")
    assert by_features.support_images is None
    assert by_images.support_images.shape == (2, 3, 3, *IMAGE)


def assert_one_by_one(head, method, rule, similarity, options):
    encoder, queries = tiny_encoder(random_head(head)), images(4, seed=1)
    supports = {"a": images(3, seed=2), "b": images(1, seed=3), "c": images(2, seed=4)}
    together = explain(encoder, queries, supports, method=method, rule=rule, similarity=similarity, **options)
    for i in range(4):
        alone = explain(encoder, queries[i], supports, method=method, rule=rule, similarity=similarity, **options)
        assert_same(together[i], alone)
        assert type(together[i].target) is type(together[i].decision.label) is int
        assert together[i].decision.label == alone.decision.label == together[i].target
        assert together[i].decision.name == "abc"[together[i].target]
        torch.testing.assert_close(together[i].residual, together.residual[i], equal_nan=True)
        assert_same_question(together[i].question, alone.question)
        assert [line.amount for line in together[i].receipt().lines] == pytest.approx(
            [line.amount for line in alone.receipt().lines]
        )
    return together


def assert_same_question(found, expected):
    torch.testing.assert_close(found.query.maps, expected.query.maps)
    torch.testing.assert_close(found.weights.supports, expected.weights.supports)
    torch.testing.assert_close(found.explained.value, expected.explained.value)
    torch.testing.assert_close(found.constant, expected.constant)
    torch.testing.assert_close(found.ranking, expected.ranking)
    assert found.target.shape == expected.target.shape == ()


@every_method
def test_a_batch_is_explained_as_one_query_at_a_time_by_every_method(method):
    head = "mlp" if method in ADD_UP else "linear"
    together = assert_one_by_one(head, method, "mean-similarity", "cosine", OPTIONS.get(method, {}))
    assert len(set(together.decision.label.tolist())) > 1


@pytest.mark.parametrize(("rule", "similarity"), PAIRS, ids=map("-".join, PAIRS))
def test_a_batch_is_decided_as_one_query_at_a_time_by_every_rule(rule, similarity):
    together = assert_one_by_one("linear", "contrast", QUICK_RULES[rule], similarity, {})
    assert len(set(together.score.tolist())) == 4


@every_method
def test_every_tensor_has_its_stated_shape_and_lies_on_the_cpu(method):
    explanation = explain(
        tiny_encoder(), images(2, seed=1), images(3, 2, seed=2), method=method, **OPTIONS.get(method, {})
    )
    shapes = {
        "score": (2,),
        "bias": (2,),
        "support_bias": (2,),
        "residual": (2,),
        "absolute_sum": (2,),
        "contributions": (2, CHANNELS),
        "cells": (2, *IMAGE) if method in OF_PIXELS else (2, 3, 4),
        "saliency": (2, *IMAGE),
        "support_cells": (2, 3, 2, 3, 4),
        "similarities": (2, 3, 2),
        "support_weights": (2, 3, 2),
        "support_shares": (2, 3, 2),
        "support_biases": (2, 3, 2),
        "image": (2, 3, *IMAGE),
        "support_images": (3, 2, 3, *IMAGE),
    }
    for name, shape in shapes.items():
        value = getattr(explanation, name)
        assert value.shape == shape, name
        assert value.device.type == "cpu", name
        assert not value.requires_grad, name
    assert explanation.decision.scores.shape == (2, 3)
    assert explanation.method == method
    assert (explanation.against is None) == (method != "contrast")


def test_a_target_may_be_named_or_numbered():
    encoder, query = tiny_encoder(), images(seed=1)
    supports = {"crow": images(2, seed=2), "jay": images(1, seed=3), "wren": images(2, seed=4)}
    scores = explain(encoder, query, supports).decision.scores
    for number, name in enumerate(supports):
        by_name, by_number = (explain(encoder, query, supports, target=target) for target in (name, number))
        assert_same(by_name, by_number)
        assert by_name.target == number
        assert by_name.decision.label == int(scores.argmax())
        torch.testing.assert_close(by_name.score, scores[number])


def test_padding_is_marked_on_the_support_side():
    encoder, query = tiny_encoder(), images(seed=1)
    supports = {"a": images(3, seed=2), "b": images(1, seed=3)}
    cells = explain(encoder, query, supports, method="contrast").support_cells
    padding = [[False, False, False], [False, True, True]]
    assert cells.isnan().flatten(start_dim=-2).all(-1).tolist() == padding
    assert not cells[0].isnan().any()


@pytest.mark.parametrize("method", ["exact", "fam"])
def test_supports_of_another_size_than_the_query_are_explained(method):
    larger = torch.randn(2, 2, 3, 8, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    explanation = explain(tiny_encoder(), images(seed=1), larger, method=method)
    assert explanation.cells.shape == (3, 4)
    assert explanation.support_cells.shape == (2, 2, 4, 5)


def test_a_saliency_has_the_scale_of_its_method():
    encoder, queries, supports = tiny_encoder(), images(3, seed=1), images(2, 2, seed=2)
    for method in ("fam", "lafam"):
        found = explain(encoder, queries, supports, method=method)
        assert found.saliency.min() >= 0
        assert found.saliency.max() <= 1 + 1e-12
        assert not found.signed
    fam = explain(encoder, queries, supports, method="fam").saliency.flatten(start_dim=1)
    assert fam.amin(dim=1).tolist() == [0, 0, 0]
    assert fam.amax(dim=1).tolist() == [1, 1, 1]
    contrast = explain(encoder, queries, supports, method="contrast")
    assert contrast.signed
    assert contrast.saliency.min() < 0 < contrast.saliency.max()
    single = saliency(encoder, queries[0])
    assert single.shape == IMAGE


def test_an_exact_saliency_grows_with_the_score():
    """It has no scale of its own, so twice the support's embedding gives twice the map."""
    encoder, query = tiny_encoder(), images(seed=1)
    once = encoder(images(2, seed=2)).unflatten(2, 1)
    twice = Features(once.maps, once.pooled, 2 * once.embedding)
    for method, factor in (("exact", 2.0), ("fam", 1.0)):
        first, second = (
            explain(encoder, query, s, method=method, similarity="inner-product", target=0) for s in (once, twice)
        )
        torch.testing.assert_close(second.saliency, factor * first.saliency)
