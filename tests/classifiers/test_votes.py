"""Votes of the nearest neighbors, against the plain loops and against what is known by heart."""

import math

import numpy as np
import pytest
import torch
from random_supports import supports_of
from references import votes as reference
from unchecked import loaded_without_shape_checks

from fsl_explain.classifiers import RULES, KnnVote, MajorityVote, SupportSet
from fsl_explain.classifiers.knn_vote import HOW_MANY, NearestNeighbor, nearest_of
from fsl_explain.similarities import SIMILARITIES

SHOTS, CHANNELS, TAU = (3, 1, 4, 2), 5, 0.3
INNER = SIMILARITIES["inner-product"]

every_similarity = pytest.mark.parametrize("similarity", SIMILARITIES.values(), ids=SIMILARITIES)
every_k = pytest.mark.parametrize("k", [1, 2, 5, 9, 10])


@pytest.fixture
def query():
    return torch.randn(6, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def supports():
    return supports_of(SHOTS, CHANNELS, seed=2)


def slow_similarities(query, supports, similarity):
    """For each query, the similarities to the real supports of each class."""
    flat = similarity.pairwise(query, supports.embeddings.flatten(0, 1)).unflatten(-1, supports.valid.shape)
    return [[row[keep].tolist() for row, keep in zip(one, supports.valid, strict=True)] for one in flat]


def as_tensor(rows):
    return torch.tensor(rows, dtype=torch.float64)


@every_k
@every_similarity
def test_the_vote_equals_the_loop_version(similarity, k, query, supports):
    rule = KnnVote(k, TAU)
    slow = [reference.log_votes(S, k, TAU) for S in slow_similarities(query, supports, similarity)]
    found = rule.class_scores(query, supports, similarity)
    torch.testing.assert_close(found, as_tensor(slow))
    assert torch.equal(rule.decision_scores(query, supports, similarity), found)


@every_k
@every_similarity
def test_the_voters_are_those_of_the_loop_version(similarity, k, query, supports):
    for rule in (KnnVote(k), MajorityVote(k)):
        found = rule.voters(query, supports, similarity)
        for marked, S in zip(found, slow_similarities(query, supports, similarity), strict=True):
            assert [row.nonzero().flatten().tolist() for row in marked] == reference.voters(S, k)
        assert (found.sum(dim=(-2, -1)) == k).all()


@every_similarity
def test_a_vote_is_how_similar_plus_how_many(similarity, query, supports):
    rule = KnnVote(k=7, temperature=TAU)
    scores = rule.class_scores(query, supports, similarity)
    for c in range(len(SHOTS)):
        heard = ~scores[:, c].isneginf()
        asked = torch.zeros_like(scores)
        asked[heard, c] = 1
        weights = rule.weights(asked, query, supports, similarity)
        assert list(weights.constants) == [HOW_MANY]
        for i in heard.nonzero().flatten().tolist():
            S = slow_similarities(query, supports, similarity)[i]
            chosen = [S[c][shot] for shot in reference.voters(S, 7)[c]]
            how_similar, how_many = reference.how_similar_and_how_many(chosen, TAU)
            voters = rule.voters(query, supports, similarity)[i, c, : SHOTS[c]]
            addends = weights.supports[i, c, : SHOTS[c]][voters] * torch.tensor(chosen, dtype=torch.float64)
            assert float(addends.sum()) == pytest.approx(how_similar, abs=1e-9)
            assert float(weights.constants[HOW_MANY][i]) == pytest.approx(how_many, abs=1e-9)
            assert how_similar + how_many == pytest.approx(float(scores[i, c]), abs=1e-9)


def test_voters_that_are_alike_count_their_number():
    """Four supports like the query against one: log 4 of "how many", and nothing of "how similar"."""
    one = torch.tensor([1.0, 0.0]).double()
    supports = SupportSet(one.expand(2, 4, 2), torch.tensor([[True] * 4, [True] + [False] * 3]), ("many", "one"))
    rule, lead = KnnVote(), torch.tensor([[1.0, -1.0]]).double()
    weights = rule.weights(lead, one[None], supports, SIMILARITIES["cosine"])
    assert float(weights.constants[HOW_MANY]) == pytest.approx(math.log(4))
    assert float(weights.supports.sum()) == pytest.approx(0, abs=1e-12)
    assert weights.supports[0, 0].tolist() == pytest.approx([0.25 / 0.07] * 4)


@every_k
@every_similarity
def test_the_majority_counts_and_is_explained_by_the_mean_of_its_voters(similarity, k, query, supports):
    rule = MajorityVote(k)
    slow = [reference.mean_of_voters(S, k) for S in slow_similarities(query, supports, similarity)]
    torch.testing.assert_close(rule.class_scores(query, supports, similarity), as_tensor([means for means, _ in slow]))
    counts = rule.decision_scores(query, supports, similarity)
    assert counts.tolist() == [counted for _, counted in slow]


def test_the_majority_decides_by_number_where_the_mean_would_decide_otherwise():
    """Two fair neighbors outvote one that is nearer."""
    supports = SupportSet(torch.tensor([[[3.0], [0.0]], [[2.0], [2.0]]]), torch.tensor([[True, False], [True] * 2]), ())
    query = torch.ones(1, 1)
    assert MajorityVote(3).decision_scores(query, supports, INNER).tolist() == [[1, 2]]
    assert MajorityVote(3).class_scores(query, supports, INNER).tolist() == [[3, 2]]


@every_similarity
def test_the_nearest_neighbor_is_the_top_1_and_its_lead_the_margin(similarity, query, supports):
    rule = RULES["nearest-neighbor"]
    assert isinstance(rule, NearestNeighbor)
    slow = as_tensor([reference.nearest(S) for S in slow_similarities(query, supports, similarity)])
    torch.testing.assert_close(rule.class_scores(query, supports, similarity), slow)
    images = SupportSet(supports.embeddings.flatten(0, 1)[:, None], supports.valid.flatten()[:, None], ())
    alone = rule.class_scores(query, images, similarity)
    top = alone.topk(2).values
    flat = similarity.pairwise(query, images.embeddings[:, 0])[:, supports.valid.flatten()]
    torch.testing.assert_close(top, flat.sort(descending=True).values[:, :2])
    weights = rule.weights(torch.ones_like(slow), query, supports, similarity)
    assert weights.constants == {}
    assert (weights.supports.sum(dim=-1) == 1).all()
    assert ((weights.supports == 0) | (weights.supports == 1)).all()


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [[1, 0, 0], [0, 0, 0]]),
        (2, [[1, 1, 0], [0, 0, 0]]),
        (3, [[1, 1, 0], [1, 0, 0]]),
        (5, [[1, 1, 1], [1, 1, 0]]),
        (None, [[1, 1, 1], [1, 1, 0]]),
    ],
)
def test_ties_at_the_last_place_go_to_the_lower_class_and_the_lower_shot(k, expected):
    valid = torch.tensor([[True, True, True], [True, True, False]])
    similarities = torch.tensor([[[2.0, 1.0, 0.0], [1.0, 1.0, 9.0]]])
    assert nearest_of(similarities, valid, k)[0].int().tolist() == expected


def test_without_a_number_two_hundred_vote():
    similarities = torch.arange(250.0).reshape(1, 2, 125)
    valid = torch.ones(2, 125, dtype=torch.bool)
    marked = nearest_of(similarities, valid, None)
    assert int(marked.sum()) == 200
    assert marked.flatten().tolist() == [False] * 50 + [True] * 200


@pytest.mark.parametrize("k", [0, 11, -1])
def test_more_neighbors_than_supports_are_refused(k, query, supports):
    for rule in (KnnVote(k), MajorityVote(k)):
        with pytest.raises(
            ValueError, match=rf"asked for {k} neighbors, but there are 10 supports; choose k from 1 to"
        ):
            rule.class_scores(query, supports, INNER)


@pytest.mark.parametrize("k", [2.5, True, "3"])
@pytest.mark.parametrize("vote", ["KnnVote", "MajorityVote"])
def test_neighbors_are_a_whole_number(vote, k):
    made = getattr(loaded_without_shape_checks("fsl_explain.classifiers.knn_vote"), vote)
    with pytest.raises(ValueError, match="expected k as a whole number of neighbors, or None, but got"):
        made(k)
    assert made(np.int64(3)).k == 3


@pytest.mark.parametrize("temperature", [0.0, -0.07, math.nan])
def test_a_vote_needs_a_temperature(temperature):
    with pytest.raises(ValueError, match=r"a weighted vote needs a temperature above 0, but got"):
        KnnVote(temperature=temperature)
