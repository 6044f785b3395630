import pytest
import torch
from embedding_strategies import assert_equal, embeddings, shot_masks
from hypothesis import assume, given

from fsl_explain.similarities import SIMILARITIES, Similarity

every_similarity = pytest.mark.parametrize("similarity", SIMILARITIES.values(), ids=SIMILARITIES)


def pairs_of(query, gallery):
    shape = (len(query), len(gallery), query.shape[-1])
    return query[:, None].expand(shape), gallery[None].expand(shape)


@every_similarity
def test_plays_its_role(similarity):
    assert isinstance(similarity, Similarity)


@every_similarity
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_contributions_sum_to_the_similarity(similarity, query, gallery):
    addends = similarity.contributions(*pairs_of(query, gallery))
    assert_equal(addends.sum(dim=-1), similarity.pairwise(query, gallery))


@every_similarity
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_the_form_is_the_similarity_seen_from_the_query(similarity, query, gallery):
    left, right = pairs_of(query, gallery)
    form = similarity.form(left, right)
    assert_equal((left * form.reference).sum(dim=-1) + form.constant, similarity.pairwise(query, gallery))


@every_similarity
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_the_form_is_the_similarity_seen_from_the_support(similarity, query, gallery):
    left, right = pairs_of(query, gallery)
    form = similarity.form(left, right)
    seen = (right * form.support_reference).sum(dim=-1) + form.support_constant
    assert_equal(seen, similarity.pairwise(query, gallery))


@every_similarity
@given(query=embeddings(3, 5), supports=embeddings(2, 3, 5), valid=shot_masks(2, 3))
def test_similarity_to_the_mean_support_is_a_weighted_sum(similarity, query, supports, valid):
    means = torch.stack([supports[c][valid[c]].mean(dim=0) for c in range(2)])
    assume((means.norm(dim=-1) > 0.05).all())
    weights, constant = similarity.prototype_weights(supports, valid)
    assert (weights[~valid] == 0).all()
    similarities = similarity.pairwise(query, supports.flatten(0, 1)).unflatten(-1, (2, 3))
    assert_equal((weights * similarities).sum(dim=-1) + constant, similarity.pairwise(query, means))


@every_similarity
@given(query=embeddings(2, 5), gallery=embeddings(3, 5))
def test_nothing_is_more_alike_than_the_same_direction_further_out(similarity, query, gallery):
    """Larger is more alike: the nearest of the gallery and the query itself is the query itself."""
    closest = SIMILARITIES["cosine"].pairwise(query, query).diagonal()
    assert_equal(closest, torch.ones(2, dtype=torch.float64))
    if similarity is not SIMILARITIES["inner-product"]:
        own = similarity.pairwise(query, query).diagonal()[:, None]
        assert (own >= similarity.pairwise(query, gallery) - 1e-12).all()


@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_cosine_addends_lie_between_minus_one_and_one(query, gallery):
    addends = SIMILARITIES["cosine"].contributions(*pairs_of(query, gallery))
    assert addends.abs().max() <= 1 + 1e-12


@given(query=embeddings(3, 5))
def test_cosine_ignores_length(query):
    cosine = SIMILARITIES["cosine"]
    assert_equal(cosine.pairwise(3.0 * query, query), cosine.pairwise(query, query))
