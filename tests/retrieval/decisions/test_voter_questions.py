"""Votes over neighbors against the rules over supports, and the two classes that answer for all of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import votes as reference

from fsl_explain.classifiers import KnnVote, MajorityVote, NearestNeighbor, SupportSet, decide
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain.decisions.chosen_classes import NOBODY, choose
from retrieval_explain.decisions.explained_neighbors import places_of
from retrieval_explain.decisions.questions import Voted
from retrieval_explain.ranking.neighbors import RowsInMemory, scan

RULES = {"knn-vote": KnnVote(temperature=0.2), "majority-vote": MajorityVote(), "nearest-neighbor": NearestNeighbor()}
CLASSES = 5
every_rule = pytest.mark.parametrize("name", RULES)
every_similarity = pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=4, size=32)


def searched(seed, similarity, k=9, queries=6, images=30, classes=CLASSES):
    """Random maps, their pooled embeddings, and the k nearest rows of a random gallery."""
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.normal(size=(queries, 4, 3, 3)))
    pooled = maps.mean(dim=(-2, -1))
    gallery = torch.from_numpy(rng.normal(size=(images, 4))).float()
    labels = torch.from_numpy(rng.integers(0, classes, images))
    found = scan(pooled.float(), RowsInMemory(gallery), similarity, k)
    features = Features(maps, pooled.float().double(), pooled.float().double())
    return features, gallery, found.indices, found.similarities, labels[found.indices]


def voted_by(rule, similarity, gallery, indices, similarities, labels):
    return Voted(rule, similarity, choose(rule, similarities, labels, CLASSES), indices, labels, gallery)


@every_rule
@every_similarity
@given(seed=st.integers(0, 999))
def test_votes_equal_the_rules_over_all_neighbors_as_supports(name, similarity, seed):
    rule = RULES[name]
    features, gallery, indices, similarities, labels = searched(seed, similarity)
    present = torch.arange(CLASSES).expand(len(labels), -1)
    places, valid = places_of(labels, present)
    rows = indices.gather(1, places.flatten(1)).view_as(places)
    supports = SupportSet(gallery[rows].double(), valid, tuple("abcde"))
    metric = SIMILARITIES[similarity]
    theirs = rule.class_scores(features.embedding, supports, metric)
    ranking = rule.decision_scores(features.embedding, supports, metric)
    scores, _ = rule.scores_of_voters(similarities, labels, CLASSES)
    torch.testing.assert_close(scores, theirs, rtol=1e-9, atol=1e-9)
    chosen = choose(rule, similarities, labels, CLASSES)
    assert chosen.predicted.tolist() == decide(ranking, supports.classes).label.tolist()


@given(seed=st.integers(0, 999))
def test_votes_equal_the_loops(seed):
    _, _, _, similarities, labels = searched(seed, "cosine")
    for query in range(len(labels)):
        lists = [similarities[query][labels[query] == c].tolist() for c in range(CLASSES)]
        log_votes = RULES["knn-vote"].scores_of_voters(similarities[query, None], labels[query, None], CLASSES)[0][0]
        assert log_votes.tolist() == pytest.approx(reference.log_votes(lists, 9, 0.2), abs=1e-9)
        means, counts = reference.mean_of_voters(lists, 9)
        found = RULES["majority-vote"].scores_of_voters(similarities[query, None], labels[query, None], CLASSES)
        assert found[0][0].tolist() == pytest.approx(means)
        assert found[1][0].tolist() == counts
        best = RULES["nearest-neighbor"].scores_of_voters(similarities[query, None], labels[query, None], CLASSES)[0][0]
        assert best.tolist() == pytest.approx([max(values, default=-math.inf) for values in lists])


def test_the_runner_up_is_the_best_other_class_that_has_a_neighbor():
    similarities = torch.tensor([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.9, 0.9, 0.1]], dtype=torch.float64)
    labels = torch.tensor([[3, 1, 1], [2, 2, 2], [4, 0, 4]])
    chosen = choose(NearestNeighbor(), similarities, labels, CLASSES)
    assert chosen.predicted.tolist() == [3, 2, 0]
    assert chosen.runner_up.tolist() == [1, NOBODY, 4]
    assert chosen.score.tolist() == [0.9, 0.9, 0.9]
    assert chosen.lead.tolist() == pytest.approx([0.1, 0.9, 0.0])
    majority = choose(MajorityVote(), similarities, labels, CLASSES)
    assert majority.predicted.tolist() == [1, 2, 4]
    assert majority.runner_up.tolist() == [3, NOBODY, 0]
    assert majority.lead.tolist() == pytest.approx([0.75 - 0.9, 0.8, 0.5 - 0.9])


def test_a_vote_far_below_the_best_is_not_lost():
    """exp(-2000) is zero in float64, but its logarithm is not."""
    similarities = -torch.tensor([[1.0, 200.0, 201.0]], dtype=torch.float64)
    scores, _ = KnnVote(temperature=0.1).scores_of_voters(similarities, torch.tensor([[0, 1, 1]]), 3)
    assert scores[0].tolist() == pytest.approx([-10, -2000 + math.log1p(math.exp(-10)), -math.inf])


@every_rule
@every_similarity
@given(seed=st.integers(0, 999))
def test_two_classes_answer_for_all_of_them(encoder, name, similarity, seed):
    features, *found = searched(seed, similarity, classes=1 + seed % CLASSES)
    voted = voted_by(RULES[name], similarity, *found)
    queries = torch.arange(6)
    exact = voted.question(encoder, features, queries, "score")
    contrast = voted.question(encoder, features, queries, "contrast")
    torch.testing.assert_close(exact.explained.value, voted.chosen.score, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(contrast.explained.value, voted.chosen.lead, rtol=1e-9, atol=1e-9)
    assert (contrast.explained.rivals.sum(dim=-1) == (voted.chosen.runner_up != NOBODY)).all()
    for question in (exact, contrast):
        method = METHODS["contrast" if question is contrast else "exact"]
        attribution = method.attribute(question)
        total = attribution.contributions.sum(dim=-1) + attribution.bias
        torch.testing.assert_close(total, question.explained.value, rtol=1e-9, atol=1e-9)


@every_rule
@given(seed=st.integers(0, 999))
def test_the_mean_similarity_is_that_to_the_voters_of_the_predicted_class(name, seed):
    features, gallery, indices, similarities, labels = searched(seed, "cosine")
    voted = voted_by(RULES[name], "cosine", gallery, indices, similarities, labels)
    chosen = torch.tensor([4, 1])
    found = voted.mean_similarity(features.embedding[chosen], chosen)
    masked = voted.mean_similarity(features.embedding[chosen] + 1, chosen)
    for place, query in enumerate(chosen.tolist()):
        voters = indices[query][labels[query] == voted.chosen.predicted[query]]
        voters = voters[:1] if name == "nearest-neighbor" else voters
        for embedding, value in ((features.embedding[query], found), (features.embedding[query] + 1, masked)):
            expected = torch.nn.functional.cosine_similarity(embedding[None], gallery[voters].double()).mean()
            torch.testing.assert_close(value[place], expected)


def test_a_vote_of_two_hundred_is_whole():
    """The rule over supports takes the 200 nearest by itself, which is all of the neighbors there can be."""
    features, *found = searched(0, "cosine", k=200, queries=3, images=260, classes=2)
    voted = voted_by(RULES["knn-vote"], "cosine", *found)
    question = voted.question(Encoder.named("conv4net", channels=4, size=32), features, torch.arange(3), "score")
    assert int(question.rule.voters(features.embedding, question.supports, question.similarity).sum()) == 600
    torch.testing.assert_close(question.explained.value, voted.chosen.score)
