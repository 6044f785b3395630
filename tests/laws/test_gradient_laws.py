"""Why the gradient of a cosine cannot add up to it, and what it shows instead."""

import pytest
import torch
from embedding_strategies import assert_equal, embeddings
from hypothesis import given
from tiny_encoder import images, tiny_encoder

from fsl_explain import explain
from fsl_explain.similarities import SIMILARITIES

cosine = SIMILARITIES["cosine"]


def gradient_of_the_similarity(pooled, references):
    pooled = pooled.clone().requires_grad_()
    score = cosine.pairwise(pooled, references).mean(dim=-1)
    return torch.autograd.grad(score.sum(), pooled)[0]


@given(query=embeddings(2, 5), support=embeddings(3, 5))
def test_the_gradient_of_a_cosine_times_its_embedding_sums_to_zero(query, support):
    """Euler: a cosine is homogeneous of degree 0."""
    gradient = gradient_of_the_similarity(query, support)
    assert_equal((query * gradient).sum(dim=-1), torch.zeros(2, dtype=torch.float64), 1e-11)


@pytest.mark.parametrize("shot", [1, 3])
def test_gradient_times_activations_is_the_exact_map_less_the_self_similarity_map(shot):
    encoder, query, supports = tiny_encoder(), images(seed=1), images(2, shot, seed=2)
    explanation = explain(encoder, query, supports, target=1)
    features = encoder(query[None])
    references = encoder(supports[1]).embedding
    gradient = gradient_of_the_similarity(features.pooled, references)[0]
    by_gradient = (gradient[:, None, None] * features.maps[0]).mean(dim=0) * len(gradient) / features.maps[0, 0].numel()
    of_itself = explain(encoder, query, query[None, None])
    assert_equal(by_gradient.sum(), torch.zeros((), dtype=torch.float64), 1e-11)
    assert_equal(of_itself.score, torch.ones((), dtype=torch.float64))
    assert_equal(by_gradient, explanation.cells - explanation.score * of_itself.cells, 1e-10)


def test_the_gradient_of_an_inner_product_adds_up():
    """So the missing sum is the cosine's doing, not the gradient's."""
    encoder, query, supports = tiny_encoder(), images(seed=1), images(1, 1, seed=2)
    explanation = explain(encoder, query, supports, similarity="inner-product")
    features, reference = encoder(query[None]), encoder(supports[0]).embedding[0]
    assert_equal(explanation.contributions, features.pooled[0] * reference)
    assert_equal(explanation.contributions.sum(), explanation.score)
