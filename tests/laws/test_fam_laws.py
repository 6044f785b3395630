import pytest
import torch
from embedding_strategies import assert_equal, embeddings, quarters, shot_masks
from hypothesis import assume, given
from references import fam as reference
from torch import nn

from fsl_explain.explainers.methods.fam import contribution_weights, feature_activation_map, project
from fsl_explain.explainers.methods.lafam import mean_activation_map
from fsl_explain.explainers.normalization import min_max, min_max_map
from fsl_explain.heads import L2Normalize
from fsl_explain.similarities import SIMILARITIES

COSINE = SIMILARITIES["cosine"]
every_similarity = pytest.mark.parametrize("similarity", SIMILARITIES.values(), ids=SIMILARITIES)


def similarities_of(similarity, query, supports):
    return similarity.pairwise(query[:, None], supports).squeeze(-2)


def clear(similarities, valid, least=0.02):
    """No valid similarity is near 0, where Eq. 15 divides by it."""
    return bool((similarities.abs() > least)[valid].all())


@given(query=embeddings(2, 4), supports=embeddings(2, 3, 4), valid=shot_masks(2, 3))
def test_weights_equal_the_loop_version(query, supports, valid):
    assume(clear(similarities_of(COSINE, query, supports), valid))
    shots = [supports[i][valid[i]].tolist() for i in range(2)]
    slow = [reference.contribution_weights(z, s) for z, s in zip(query.tolist(), shots, strict=True)]
    found = contribution_weights(query, supports, valid, COSINE)
    assert_equal(found, torch.tensor(slow, dtype=torch.float64), 1e-9)


@every_similarity
@given(query=embeddings(2, 4), supports=embeddings(2, 3, 4), valid=shot_masks(2, 3))
def test_weights_sum_to_the_mean_sign_of_the_similarities(similarity, query, supports, valid):
    similarities = similarities_of(similarity, query, supports)
    assume(clear(similarities, valid))
    mean_sign = similarities.sign().masked_fill(~valid, 0).sum(dim=-1) / valid.sum(dim=-1)
    assert_equal(contribution_weights(query, supports, valid, similarity).sum(dim=-1), mean_sign, 1e-11)


@given(query=embeddings(2, 4, low=0), supports=embeddings(2, 3, 4, low=0), valid=shot_masks(2, 3))
def test_weights_of_non_negative_embeddings_lie_between_zero_and_one(query, supports, valid):
    weights = contribution_weights(query, supports, valid, COSINE)
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-12


def test_the_stated_range_is_false_for_signed_embeddings():
    query, support = torch.tensor([1.0, 1.0]), torch.tensor([[1.0, -0.9]])
    weights = contribution_weights(query, support, torch.ones(1, dtype=torch.bool), COSINE)
    torch.testing.assert_close(weights, torch.tensor([10.0, -9.0]), rtol=1e-4, atol=0)


def test_a_support_without_similarity_counts_nothing():
    query, supports = torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    weights = contribution_weights(query, supports, torch.ones(2, dtype=torch.bool), COSINE)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.0]))


@given(query=embeddings(1, 4), supports=embeddings(1, 1, 4), maps=quarters(1, 4, 2, 3))
def test_for_one_shot_the_division_changes_no_map(query, supports, maps):
    similarity = similarities_of(COSINE, query, supports)
    valid = torch.ones(1, 1, dtype=torch.bool)
    assume(clear(similarity, valid))
    addends = COSINE.contributions(query, supports[:, 0])
    assume(float(addends.max() - addends.min()) > 0.02)
    divided = contribution_weights(query, supports, valid, COSINE)
    assert_equal(feature_activation_map(maps, divided), feature_activation_map(maps, addends), 1e-9)


@given(query=embeddings(1, 4, low=0), supports=embeddings(1, 2, 4, low=0), factors=quarters(2, low=1))
def test_with_several_shots_every_support_gets_the_same_say(query, supports, factors):
    """However dissimilar: the weights are the plain mean of those of each support alone."""
    every = torch.ones(1, 2, dtype=torch.bool)
    assume(clear(similarities_of(COSINE, query, supports), every))
    alone = [contribution_weights(query, supports[:, [k]], every[:, :1], COSINE) for k in range(2)]
    longer = supports * factors[None, :, None]
    assert_equal(contribution_weights(query, longer, every, COSINE), (alone[0] + alone[1]) / 2, 1e-11)


@given(maps=quarters(2, 4, 2, 3), weights=quarters(2, 4))
def test_the_map_equals_the_loop_version(maps, weights):
    slow = [reference.feature_activation_map(c, A) for c, A in zip(weights.tolist(), maps.tolist(), strict=True)]
    assert_equal(feature_activation_map(maps, weights), torch.tensor(slow, dtype=torch.float64))


@given(maps=quarters(4, 2, 3), weights=quarters(4))
def test_the_map_is_the_weighted_map_less_the_smallest_weight_times_the_mean_map(maps, weights):
    low, high = weights.min(), weights.max()
    assume(float(high - low) > 0)
    weighted = (weights[:, None, None] * maps).sum(dim=0)
    expected = (weighted - len(weights) * low * mean_activation_map(maps)) / (high - low)
    assert_equal(feature_activation_map(maps, weights), expected)


@given(maps=quarters(4, 2, 3))
def test_equal_weights_make_it_the_label_free_map(maps):
    mean = mean_activation_map(maps)
    assume(float(mean.max() - mean.min()) > 0.05)
    equal = feature_activation_map(maps, torch.full((4,), 0.3, dtype=torch.float64))
    assert_equal(min_max_map(equal), min_max_map(mean), 1e-11)


@given(pooled=embeddings(2, 4), weight=quarters(3, 4), embedding_weights=quarters(2, 3))
def test_projection_keeps_the_product_with_the_pooled_values(pooled, weight, embedding_weights):
    """Z · C = Z' · C' for a linear head without bias: this, and not that it sums to the similarity."""
    head = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    head.weight = nn.Parameter(weight)
    projected = project(embedding_weights, head)
    embedding = (pooled @ weight.T).detach()
    assert_equal((pooled * projected).sum(dim=-1), (embedding * embedding_weights).sum(dim=-1))


@given(weight=quarters(3, 4), embedding_weights=quarters(2, 3))
def test_neither_a_bias_nor_a_normalization_changes_the_projection(weight, embedding_weights):
    plain, biased = nn.Linear(4, 3, bias=False), nn.Linear(4, 3)
    for layer in (plain, biased):
        layer.weight = nn.Parameter(weight)
    chain = nn.Sequential(nn.Identity(), nn.Sequential(biased, L2Normalize()), nn.Dropout())
    assert_equal(project(embedding_weights, chain), project(embedding_weights, plain))


@given(first=quarters(3, 4), second=quarters(2, 3), embedding_weights=quarters(2, 2))
def test_two_linear_layers_project_one_after_the_other(first, second, embedding_weights):
    layers = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    layers[0].weight, layers[1].weight = nn.Parameter(first), nn.Parameter(second)
    assert_equal(project(embedding_weights, layers), embedding_weights @ second @ first)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.BatchNorm1d(3)], ids=["ReLU", "BatchNorm1d"])
def test_a_head_that_is_not_linear_has_no_projection(layer):
    head = nn.Sequential(nn.Linear(4, 3), layer)
    kind = type(layer).__name__
    with pytest.raises(ValueError, match=rf"FAM's Eq. 18 needs a linear head .* holds a {kind}; use method='exact'"):
        project(torch.ones(2, 3), head)


def test_without_a_head_the_weights_stay():
    weights = torch.tensor([[1.0, -2.0]])
    assert torch.equal(project(weights, nn.Identity()), weights)
    assert torch.equal(min_max(weights), torch.tensor([[1.0, 0.0]]))
