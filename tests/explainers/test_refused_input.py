"""What explain() cannot use is one sentence, in the words of the user."""

import numpy as np
import pytest
import torch
from tiny_encoder import IMAGE, images, tiny_encoder
from unchecked import loaded_without_shape_checks

from fsl_explain import Features, explain
from fsl_explain.classifiers import KnnVote

WRITTEN = ["fam", "exact", "contrast", "log-probability", "lafam", "grad-cam"]


def test_one_class_is_enough_for_an_explanation_but_not_for_a_contrast():
    encoder, query, supports = tiny_encoder(), images(seed=1), images(1, 2, seed=2)
    assert explain(encoder, query, supports).decision.label == 0
    with pytest.raises(ValueError, match=r"a contrast needs at least two classes, but the supports hold one; use meth"):
        explain(encoder, query, supports, method="contrast")


@pytest.mark.parametrize("index", [slice(0, 1), "0", 0.5], ids=str)
def test_one_query_of_a_batch_is_asked_for_by_its_number(index):
    """A slice of one query was taken for that query, with tensors of a batch in it."""
    found = explain(tiny_encoder(), images(2, seed=1), images(2, 1, seed=2))
    unchecked = loaded_without_shape_checks("fsl_explain.explainers.explanation").Explanation.__getitem__
    with pytest.raises(TypeError, match=r"^expected the number of one query, but got "):
        unchecked(found, index)
    assert unchecked(found, np.int64(1)).target == found[1].target
    assert len([*found]) == 2


def test_an_explanation_of_one_query_has_no_parts():
    with pytest.raises(TypeError, match=r"expected the explanation of a batch of queries, but this one is of a single"):
        explain(tiny_encoder(), images(seed=1), images(2, 1, seed=2))[0]


@pytest.mark.parametrize(
    ("choice", "error", "sentence"),
    [
        (
            {"method": "exakt"},
            LookupError,
            r"unknown method 'exakt'; did you mean 'exact'\? Known: exact, contrast, log",
        ),
        ({"rule": "prototypes"}, LookupError, r"unknown rule 'prototypes'; did you mean 'prototype'"),
        ({"similarity": "cosinus"}, LookupError, r"unknown similarity 'cosinus'; did you mean 'cosine'"),
        (
            {"rule": "cosine-classifier", "similarity": "euclidean"},
            ValueError,
            r"expected similarity='cosine' with a cosine",
        ),
        ({"rule": KnnVote(k=3)}, ValueError, r"asked for 3 neighbors, but there are 2 supports; choose k from 1 to 2"),
        ({"similarity": "mahalanobis"}, ValueError, r"a covariance needs embeddings that differ in two directions"),
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
        (
            {"biases": "apart"},
            ValueError,
            r"biases and pullback say how finer cells are drawn, but detail is 0; add det",
        ),
        ({"pullback": "gamma"}, ValueError, r"biases and pullback say how finer cells are drawn, but detail is 0; add"),
        ({"against": 1}, ValueError, r"against belongs to method='contrast', but method is 'exact'; drop against"),
        ({"method": "fam", "against": "jay"}, ValueError, r"against belongs to method='contrast', but method is 'fam'"),
    ],
    ids=str,
)
def test_a_choice_that_does_not_fit_is_one_sentence(choice, error, sentence):
    supports = {"crow": images(1, seed=2), "jay": images(1, seed=3)}
    with pytest.raises(error, match=sentence):
        explain(tiny_encoder(), images(seed=1), supports, **choice)


UNCHECKED = loaded_without_shape_checks("fsl_explain.explainers.explaining")
UNCHECKED_COMPARED = loaded_without_shape_checks("fsl_explain.explainers.compared")
UNCHECKED.compare, UNCHECKED.as_batch = UNCHECKED_COMPARED.compare, UNCHECKED_COMPARED.as_batch


IMAGE_SHAPE = r"expected an image \(3, H, W\) or a batch \(B, 3, H, W\), but got shape "
SHOTS = r"expected supports \(shot, 3, H, W\) with at least one shot for "
ONE_SIZE = r"expected supports of one size, but got 6×8 \(jay\), 6×4 \(wren\); resize them alike"


@pytest.mark.parametrize(
    ("query", "error", "sentence"),
    [
        (images()[0], ValueError, IMAGE_SHAPE + r"\(6, 8\)"),
        (images()[:1], ValueError, IMAGE_SHAPE + r"\(1, 6, 8\)"),
        (images(2, 2), ValueError, IMAGE_SHAPE + r"\(2, 2, 3, 6, 8\)"),
        (images(0), ValueError, IMAGE_SHAPE + r"\(0, 3, 6, 8\)"),
        (images().numpy(), TypeError, "expected a preprocessed tensor, but got ndarray; use encoder.preprocess"),
    ],
    ids=["no channels", "gray", "nested", "empty", "array"],
)
def test_a_query_of_the_wrong_shape_is_one_sentence(query, error, sentence):
    encoder, supports = tiny_encoder(), images(2, 1, seed=2)
    with pytest.raises(error, match=sentence):
        UNCHECKED.explain(encoder, query, supports)
    with pytest.raises(error, match=sentence):
        UNCHECKED.saliency(encoder, query)


@pytest.mark.parametrize(
    ("supports", "error", "sentence"),
    [
        (
            images(2),
            ValueError,
            r"supports of shape \(way, shot, 3, H, W\), or embeddings .* 4\), but got \(2, 3, 6, 8\)",
        ),
        (images(0, 1), ValueError, "expected supports of at least one class, but got none"),
        (images(2, 0), ValueError, SHOTS + r"class 0, but got shape \(0, 3, 6, 8\)"),
        ([images(1)], TypeError, r"expected supports as a tensor \(way, shot, 3, H, W\), .* got list; use torch.stack"),
        ({}, ValueError, "expected supports of at least one class, but got none"),
        ({"jay": images()}, ValueError, SHOTS + r"jay, but got shape \(3, 6, 8\)"),
        ({"jay": [images()]}, TypeError, r"expected a tensor \(shot, 3, H, W\) of supports for jay, but got list; use"),
        ({"jay": images(1), "wren": images(1)[..., :4]}, ValueError, ONE_SIZE),
    ],
    ids=["flat", "no class", "no shot", "list", "empty", "one image", "list of images", "two sizes"],
)
def test_supports_of_the_wrong_shape_are_one_sentence(supports, error, sentence):
    with pytest.raises(error, match=sentence):
        UNCHECKED.explain(tiny_encoder(), images(seed=1), supports)


def test_an_index_may_be_of_any_integer_type_but_no_fraction():
    module = loaded_without_shape_checks("fsl_explain.explainers.contrast_weights")
    assert module.class_index(np.int64(1), "ab") == 1
    rivals = module.rival_weights(torch.zeros(1, 3), torch.tensor([0]), np.int64(1), "abc")
    assert rivals.tolist() == [[0, 1, 0]]
    with pytest.raises(TypeError, match=r"^expected a class by name or index, but got 0\.5\.$"):
        module.class_index(0.5, "ab")


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
    with pytest.raises(ValueError, match=r"the embedding of query 0 is zero, which has no cosine similarity; use an"):
        explain(encoder, query, supports)
    for similarity in ("inner-product", "euclidean"):
        assert float(explain(encoder, query, supports, similarity=similarity).score) == 0
    features = tiny_encoder()(images(2, seed=2)).unflatten(2, 1)
    zero = Features(
        features.maps, features.pooled, features.embedding * torch.tensor([1.0, 0.0]).double()[:, None, None]
    )
    with pytest.raises(ValueError, match=r"the embedding of support \d of .* is zero, which has no cosine similarity"):
        explain(tiny_encoder(), query, zero)


@pytest.mark.parametrize("method", WRITTEN)
def test_an_image_with_nan_is_refused(method):
    broken = images(seed=1)
    broken[0, 0, 0] = torch.nan
    encoder, whole = tiny_encoder(), images(2, 1, seed=2)
    with pytest.raises(ValueError, match=r"the embedding of query 0 is NaN or infinite; check the"):
        explain(encoder, broken, whole, method=method)
    with pytest.raises(ValueError, match=r"the embedding of support \d of .* is NaN or infinite"):
        explain(encoder, images(seed=1), broken.expand(2, 1, 3, *IMAGE), method=method)
