"""What explain() accepts in several forms gives one answer, and what it cannot use is one sentence."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_encoder import CHANNELS, IMAGE, images, random_head, tiny_encoder

from fsl_explain import Features, explain, saliency
from fsl_explain.explainers import METHODS

WRITTEN = ["fam", "exact", "contrast", "lafam"]
every_method = pytest.mark.parametrize("method", METHODS)


def assert_same(found, expected, skip=()):
    """Two explanations agree in every tensor, whatever the names of their classes."""
    for field in dataclasses.fields(expected):
        value, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, torch.Tensor) and field.name not in skip:
            torch.testing.assert_close(value, other, equal_nan=True, msg=field.name)
    torch.testing.assert_close(found.decision.scores, expected.decision.scores)


@every_method
def test_supports_may_be_images_features_or_named(method):
    encoder, query, supports = tiny_encoder(random_head("linear")), images(seed=1), images(2, 3, seed=2)
    by_images = explain(encoder, query, supports, method)
    by_features = explain(encoder, query, encoder(supports.flatten(0, 1)).unflatten(2, 3), method)
    by_name = explain(encoder, query, dict(zip("ab", supports, strict=True)), method)
    assert_same(by_features, by_images, skip={"support_images"})
    assert_same(by_name, by_images)
    assert by_images.decision.classes == ("class 0", "class 1")
    assert by_name.decision.classes == ("a", "b")
    assert by_features.support_images is None
    assert by_images.support_images.shape == (2, 3, 3, *IMAGE)


@every_method
@pytest.mark.parametrize("rule", ["mean-similarity", "prototype"])
def test_a_batch_is_explained_as_one_query_at_a_time(method, rule):
    encoder, queries = (
        tiny_encoder(random_head("mlp" if method in ("exact", "contrast") else "linear")),
        images(4, seed=1),
    )
    supports = {"a": images(3, seed=2), "b": images(1, seed=3), "c": images(2, seed=4)}
    together = explain(encoder, queries, supports, method, rule)
    assert len(set(together.decision.label.tolist())) > 1
    for i in range(4):
        alone = explain(encoder, queries[i], supports, method, rule)
        assert_same(together[i], alone)
        assert type(together[i].target) is type(together[i].decision.label) is int
        assert together[i].decision.label == alone.decision.label == together[i].target
        assert together[i].decision.name == "abc"[together[i].target]
        torch.testing.assert_close(together[i].residual, together.residual[i], equal_nan=True)


@every_method
def test_every_tensor_has_its_stated_shape_and_lies_on_the_cpu(method):
    explanation = explain(tiny_encoder(), images(2, seed=1), images(3, 2, seed=2), method)
    shapes = {
        "score": (2,),
        "bias": (2,),
        "support_bias": (2,),
        "residual": (2,),
        "absolute_sum": (2,),
        "contributions": (2, CHANNELS),
        "cells": (2, 3, 4),
        "saliency": (2, *IMAGE),
        "support_cells": (2, 3, 2, 3, 4),
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
    cells = explain(encoder, query, supports, "contrast").support_cells
    assert cells.isnan().flatten(start_dim=-2).all(-1).tolist() == [[False, False, False], [False, True, True]]
    assert not cells[0].isnan().any()


@pytest.mark.parametrize("method", ["exact", "fam"])
def test_supports_of_another_size_than_the_query_are_explained(method):
    larger = torch.randn(2, 2, 3, 8, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    explanation = explain(tiny_encoder(), images(seed=1), larger, method)
    assert explanation.cells.shape == (3, 4)
    assert explanation.support_cells.shape == (2, 2, 4, 5)


def test_one_class_is_enough_for_an_explanation_but_not_for_a_contrast():
    encoder, query, supports = tiny_encoder(), images(seed=1), images(1, 2, seed=2)
    assert explain(encoder, query, supports).decision.label == 0
    with pytest.raises(ValueError, match=r"a contrast needs at least two classes, but the supports hold one; use meth"):
        explain(encoder, query, supports, "contrast")


def test_an_explanation_of_one_query_has_no_parts():
    with pytest.raises(TypeError, match=r"expected the explanation of a batch of queries, but this one is of a single"):
        explain(tiny_encoder(), images(seed=1), images(2, 1, seed=2))[0]


@pytest.mark.parametrize(
    ("choice", "error", "sentence"),
    [
        (
            {"method": "exakt"},
            LookupError,
            r"unknown method 'exakt'; did you mean 'exact'\? Known: exact, contrast, fam",
        ),
        ({"rule": "prototypes"}, LookupError, r"unknown rule 'prototypes'; did you mean 'prototype'"),
        ({"similarity": "cosinus"}, LookupError, r"unknown similarity 'cosinus'; did you mean 'cosine'"),
        ({"target": "crw"}, LookupError, r"unknown class 'crw'; did you mean 'crow'\? Known: crow, jay"),
        ({"target": 2}, LookupError, r"expected a class index from 0 to 1, but got 2"),
        ({"target": -1}, LookupError, r"expected a class index from 0 to 1, but got -1"),
        ({"method": "contrast", "against": "jy"}, LookupError, r"unknown class 'jy'; did you mean 'jay'"),
        ({"method": "contrast", "against": [0, 5]}, LookupError, r"expected a class index from 0 to 1, but got 5"),
        (
            {"method": "contrast", "against": []},
            ValueError,
            r"expected at least one class to contrast with, but got an",
        ),
        (
            {"method": "contrast", "target": "crow", "against": ["jay", 0]},
            ValueError,
            r"a class cannot be contrasted with itself, but crow is both the target and in against",
        ),
        ({"against": 1}, ValueError, r"against belongs to method='contrast', but method is 'exact'; drop against"),
        ({"method": "fam", "against": "jay"}, ValueError, r"against belongs to method='contrast', but method is 'fam'"),
    ],
    ids=str,
)
def test_a_choice_that_does_not_fit_is_one_sentence(choice, error, sentence):
    supports = {"crow": images(1, seed=2), "jay": images(1, seed=3)}
    with pytest.raises(error, match=sentence):
        explain(tiny_encoder(), images(seed=1), supports, **choice)


@pytest.fixture(scope="module")
def answers():
    """What a process without the shape checks of the tests says to each wrong call."""
    script, root = Path(__file__).with_name("wrong_shapes.py"), Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


QUERY = r"ValueError: expected an image \(3, H, W\) or a batch \(B, 3, H, W\), but got shape "
SHOTS = r"ValueError: expected supports \(shot, 3, H, W\) with at least one shot for "


@pytest.mark.parametrize(
    ("call", "sentence"),
    {
        "query without channels": QUERY + r"\(6, 8\)\.",
        "gray query": QUERY + r"\(1, 6, 8\)\.",
        "nested queries": QUERY + r"\(2, 2, 3, 6, 8\)\.",
        "no query": QUERY + r"\(0, 3, 6, 8\)\.",
        "array as query": "TypeError: expected a preprocessed tensor, but got ndarray; use encoder.preprocess",
        "array to saliency": "TypeError: expected a preprocessed tensor, but got ndarray; use encoder.preprocess",
        "flat supports": r"ValueError: expected supports of shape \(way, shot, 3, H, W\), but got \(1, 3, 6, 8\)",
        "no class": "ValueError: expected supports of at least one class, but got none",
        "no named class": "ValueError: expected supports of at least one class, but got none",
        "no shot": SHOTS + r"class 0, but got shape \(0, 3, 6, 8\)",
        "one image as a class": SHOTS + r"jay, but got shape \(3, 6, 8\)",
        "list of supports": r"TypeError: expected supports as a tensor \(way, shot, 3, H, W\), .* got list; use torch",
        "list as a class": r"TypeError: expected a tensor \(shot, 3, H, W\) of supports for jay, but got list; use enc",
        "two sizes": r"ValueError: expected supports of one size, but got 6×8 \(jay\), 6×4 \(wren\); resize them alike",
        "fraction as target": r"TypeError: 'float' object cannot be interpreted as an integer",
        "picture to preprocess": r"TypeError: expected a list of PIL images, but got a single one; pass \[image\]",
    }.items(),
)
def test_input_of_the_wrong_shape_is_one_sentence(answers, call, sentence):
    assert re.match(sentence, answers[call]), answers[call]


def test_every_wrong_call_is_expected_to_fail(answers):
    assert "no error" not in answers.values()
    assert len(answers) == 17
    assert answers["index of another kind"] == "1"


def test_support_features_need_classes_and_shots():
    encoder = tiny_encoder()
    flat: Features = encoder(images(2, seed=2))
    with pytest.raises(ValueError, match=r"leading dimensions \(way, shot\), but got an embedding of shape \(2, 4\)"):
        explain(encoder, images(seed=1), flat)


def blank_encoder():
    """Embeds every image at zero."""
    encoder = tiny_encoder()
    for parameter in encoder.network.conv.parameters():
        torch.nn.init.zeros_(parameter)
    return encoder


def test_a_zero_embedding_has_no_cosine_but_has_other_similarities():
    encoder, query, supports = blank_encoder(), images(seed=1), images(2, 1, seed=2)
    with pytest.raises(ValueError, match=r"a query image has a zero embedding, which has no cosine similarity; use an"):
        explain(encoder, query, supports)
    for similarity in ("inner-product", "euclidean"):
        assert float(explain(encoder, query, supports, similarity=similarity).score) == 0
    features = tiny_encoder()(images(2, seed=2)).unflatten(2, 1)
    zero = Features(
        features.maps, features.pooled, features.embedding * torch.tensor([1.0, 0.0]).double()[:, None, None]
    )
    with pytest.raises(ValueError, match=r"a support image has a zero embedding, which has no cosine similarity"):
        explain(tiny_encoder(), query, zero)


@pytest.mark.parametrize("method", WRITTEN)
def test_an_image_with_nan_is_refused(method):
    broken = images(seed=1)
    broken[0, 0, 0] = torch.nan
    encoder, whole = tiny_encoder(), images(2, 1, seed=2)
    with pytest.raises(ValueError, match=r"gave NaN or infinite values for a query image; check its weights and input"):
        explain(encoder, broken, whole, method)
    with pytest.raises(ValueError, match=r"gave NaN or infinite values for a support image"):
        explain(encoder, images(seed=1), broken.expand(2, 1, 3, *IMAGE), method)


def test_a_saliency_has_the_scale_of_its_method():
    encoder, queries, supports = tiny_encoder(), images(3, seed=1), images(2, 2, seed=2)
    for method in ("fam", "lafam"):
        found = explain(encoder, queries, supports, method)
        assert found.saliency.min() >= 0
        assert found.saliency.max() <= 1 + 1e-12
        assert not found.signed
    fam = explain(encoder, queries, supports, "fam").saliency.flatten(start_dim=1)
    assert fam.amin(dim=1).tolist() == [0, 0, 0]
    assert fam.amax(dim=1).tolist() == [1, 1, 1]
    for method in ("exact", "contrast"):
        found = explain(tiny_encoder(random_head("batch-norm")), queries, supports, method)
        assert found.signed
        assert found.saliency.min() < 0
    single = saliency(encoder, queries[0])
    assert single.shape == IMAGE
