import pytest
import torch
from decision_parts import similarities_of
from embedding_strategies import assert_equal, embeddings, quarters, shot_masks, spread_of
from guide_similarity import CorrelationWithTraits
from hypothesis import assume, given
from references import exact as reference

from fsl_explain.similarities import SIMILARITIES, Form, Similarity, effective_reference, traits_of

DIMENSIONS = 5
EVERY = similarities_of(DIMENSIONS)
METRIC = EVERY["mahalanobis"].precision.tolist()

every_similarity = pytest.mark.parametrize("similarity", EVERY.values(), ids=EVERY)
SUMS = {kind: similarity for kind, similarity in EVERY.items() if kind != "mahalanobis"}
every_sum_over_channels = pytest.mark.parametrize("similarity", SUMS.values(), ids=SUMS)


def pairs_of(query, gallery):
    shape = (len(query), len(gallery), query.shape[-1])
    return query[:, None].expand(shape), gallery[None].expand(shape)


@every_similarity
def test_plays_its_role(similarity):
    assert isinstance(similarity, Similarity)


@every_sum_over_channels
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_contributions_sum_to_the_similarity(similarity, query, gallery):
    addends = similarity.contributions(*pairs_of(query, gallery))
    assert_equal(addends.sum(dim=-1), similarity.pairwise(query, gallery))


def test_a_mahalanobis_distance_is_no_sum_over_channels():
    with pytest.raises(ValueError, match=r"fam needs a similarity that is a sum over channels, but a Mahalanobis dist"):
        EVERY["mahalanobis"].contributions(torch.ones(2, DIMENSIONS), torch.ones(2, DIMENSIONS))


@every_similarity
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_the_value_of_the_form_is_the_similarity(similarity, query, gallery):
    """Also where dimensions that are the same for all pairs have size 1."""
    expected = similarity.pairwise(query, gallery)
    for left, right in (pairs_of(query, gallery), (query[:, None], gallery)):
        assert_equal(similarity.form(left, right).value(left, right), expected, 1e-11)


@every_similarity
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_the_form_is_the_similarity_seen_from_either_side(similarity, query, gallery):
    left, right = query[:, None], gallery
    form, expected = similarity.form(left, right), similarity.pairwise(query, gallery)
    from_query = (left * form.on_query(right)).sum(dim=-1) + form.along_support(right)
    from_support = (right * form.on_support(left)).sum(dim=-1) + form.along_query(left)
    assert_equal(from_query.expand(3, 4), expected, 1e-11)
    assert_equal(from_support.expand(3, 4), expected, 1e-11)


@pytest.mark.parametrize("similarity", [*EVERY.values(), CorrelationWithTraits()], ids=[*EVERY, "with traits"])
@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_traits_tell_the_same_similarity(similarity, query, gallery):
    """As an inner product or a distance of transformed embeddings, and in [-1, 1] where they have norm 1."""
    traits, expected = traits_of(similarity), similarity.pairwise(query, gallery)
    if traits.inner_product_of is not None:
        assert_equal(traits.inner_product_of(query) @ traits.inner_product_of(gallery).T, expected)
    if traits.distance_of is not None:
        difference = traits.distance_of(query)[:, None] - traits.distance_of(gallery)
        assert_equal(-difference.square().sum(dim=-1), expected, 1e-11)
    if traits.divides_by_norm:
        assert_equal(traits.transform(query).norm(dim=-1), torch.ones(3, dtype=torch.float64))


@given(vectors=quarters(4, 2), metric=quarters(2, 2), scale=quarters(1), constant=quarters(1))
def test_a_form_with_every_term_is_their_sum(vectors, metric, scale, constant):
    """Also for a metric that is not symmetric and a constant, which no similarity here has."""
    z, q, u, v = vectors
    form = Form(scale[0], metric, query_slope=u, support_slope=v, constant=constant[0])
    expected = scale[0] * (z @ metric @ q) + u @ z + v @ q + constant[0]
    for found in (form.value(z, q), z @ form.on_query(q) + form.along_support(q)):
        assert_equal(found, expected)
    every = Form(scale[None], metric, query_slope=u[None, None])
    assert_equal(effective_reference(every, torch.full((1, 1), 0.5).double(), q[None, None]), form.on_query(q) / 2)


@pytest.mark.parametrize("kind", EVERY)
@given(query=embeddings(2, 5), supports=embeddings(2, 3, 5), weights=quarters(2, 2, 3))
def test_the_effective_reference_is_the_sum_over_the_supports(kind, query, supports, weights):
    form = EVERY[kind].form(query[:, None, None], supports)
    slow = []
    for z, of_query in zip(query.tolist(), weights.flatten(1).tolist(), strict=True):
        g = [0.0] * DIMENSIONS
        for q, w_k in zip(supports.flatten(0, 1).tolist(), of_query, strict=True):
            M, u, _, _ = reference.form(kind, z, q, METRIC)
            for i in range(DIMENSIONS):
                g[i] += w_k * (reference.dot(M[i], q) + u[i])
        slow.append(g)
    assert_equal(effective_reference(form, weights, supports), torch.tensor(slow, dtype=torch.float64), 1e-11)


@every_similarity
@given(query=embeddings(2, 5), supports=embeddings(2, 2, 3, 5), weights=quarters(2, 2, 3))
def test_each_query_may_have_an_effective_reference_of_its_own_supports(similarity, query, supports, weights):
    together = effective_reference(similarity.form(query[:, None, None], supports), weights, supports)
    for i in range(2):
        form = similarity.form(query[i, None, None], supports[i])
        assert_equal(together[i], effective_reference(form, weights[i], supports[i]))


@every_similarity
@given(query=embeddings(3, 5), supports=embeddings(2, 3, 5), valid=shot_masks(2, 3))
def test_similarity_to_the_mean_support_is_a_weighted_sum(similarity, query, supports, valid):
    means = torch.stack([supports[c][valid[c]].mean(dim=0) for c in range(2)])
    assume((spread_of(means) > 0.05).all())
    weights, constant = similarity.prototype_weights(supports, valid)
    assert (weights[~valid] == 0).all()
    similarities = similarity.pairwise(query, supports.flatten(0, 1)).unflatten(-1, (2, 3))
    found = (weights * similarities).sum(dim=-1) + constant
    assert_equal(found, similarity.pairwise(query, means), 1e-11)


@pytest.mark.parametrize("kind", EVERY)
@given(query=embeddings(2, 5), gallery=embeddings(3, 5))
def test_nothing_is_more_alike_than_the_same_direction_further_out(kind, query, gallery):
    """Larger is more alike: the nearest of the gallery and the query itself is the query itself."""
    closest = SIMILARITIES["cosine"].pairwise(query, query).diagonal()
    assert_equal(closest, torch.ones(2, dtype=torch.float64))
    if kind != "inner-product":
        own = EVERY[kind].pairwise(query, query).diagonal()[:, None]
        assert (own >= EVERY[kind].pairwise(query, gallery) - 1e-10).all()


@given(query=embeddings(3, 5), gallery=embeddings(4, 5))
def test_cosine_addends_lie_between_minus_one_and_one(query, gallery):
    addends = SIMILARITIES["cosine"].contributions(*pairs_of(query, gallery))
    assert addends.abs().max() <= 1 + 1e-12


@given(query=embeddings(3, 5))
def test_cosine_ignores_length(query):
    cosine = SIMILARITIES["cosine"]
    assert_equal(cosine.pairwise(3.0 * query, query), cosine.pairwise(query, query))
