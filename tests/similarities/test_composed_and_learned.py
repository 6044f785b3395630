"""What a similarity that is made of a function, or of others, takes and refuses."""

import numpy as np
import pytest
import torch

from fsl_explain.similarities import SIMILARITIES, AtScales, LearnedSimilarity, named_similarity, similarity_name

GENERATOR = torch.Generator().manual_seed(0)
QUERY, GALLERY = torch.randn(2, 4, 6, generator=GENERATOR), torch.randn(3, 6, generator=GENERATOR)


def test_a_learned_similarity_compares_every_query_with_every_embedding():
    learned = LearnedSimilarity(lambda query, gallery: torch.tanh(query @ gallery.mT))
    torch.testing.assert_close(learned.pairwise(QUERY, GALLERY), torch.tanh(QUERY @ GALLERY.T))


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda query, gallery: query @ gallery.mT @ gallery, r"\(2, 4, 6\)"),
        (lambda query, gallery: (query @ gallery.mT).mT, r"\(2, 3, 4\)"),
        (lambda query, gallery: float((query @ gallery.mT).sum()), "float"),
    ],
    ids=["one of each query", "turned", "a number"],
)
def test_a_function_that_gives_other_shapes_is_refused(function, got):
    sentence = rf"expected a learned similarity of shape \(2, 4, 3\) for queries .* but its function returned {got}; "
    with pytest.raises(ValueError, match=sentence):
        LearnedSimilarity(function).pairwise(QUERY, GALLERY)


def test_a_similarity_at_scales_may_be_made_of_a_name():
    assert AtScales.of("cosine", (224, 448)) == AtScales.of(SIMILARITIES["cosine"], (224, 448))
    assert similarity_name(AtScales.of("euclidean", (224, 448))) == "euclidean@224,448"


def test_the_sides_of_scales_may_be_an_array(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    assert AtScales.of("cosine", np.array([224, 448])) == AtScales.of("cosine", (224, 448))


@pytest.mark.parametrize(
    ("similarity", "sides", "sentence"),
    [
        ("cosine", (), "expected at least one scale, but got none; give sides in pixels"),
        ("cosin", (224,), "unknown similarity 'cosin'; did you mean 'cosine'"),
        ("cosine@224", (224,), "expected a similarity of one scale, but got one at scales already"),
    ],
)
def test_a_similarity_at_no_scales_or_twice_at_some_is_refused(similarity, sides, sentence):
    with pytest.raises(ValueError, match=sentence):
        AtScales.of(similarity, sides)


@pytest.mark.parametrize("given", [None, 3, AtScales], ids=["none", "number", "class"])
def test_what_is_no_similarity_is_refused(given, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    for asked in (named_similarity, similarity_name):
        with pytest.raises(TypeError, match="expected a similarity by name or as an object, but got"):
            asked(given)
