"""Ranking metrics against loops over every order of the tied, against another library, and on known lists."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import ranking as reference

from retrieval_explain.ranking.ranked_lists import own_places, rank_gallery, rank_neighbors
from retrieval_explain.ranking.ranking_metrics import (
    mean_average_precision_at_r,
    precision_at_k,
    r_precision,
    recall_at_k,
)
from retrieval_explain.ranking.tied_votes import majority_vote_accuracy, weighted_vote_accuracy

METRICS = {
    "recall@1": (lambda lists: recall_at_k(lists, 1), lambda o, y: reference.recall(o, y, 1)),
    "recall@3": (lambda lists: recall_at_k(lists, 3), lambda o, y: reference.recall(o, y, 3)),
    "precision@1": (lambda lists: precision_at_k(lists, 1), lambda o, y: reference.precision(o, y, 1)),
    "precision@4": (lambda lists: precision_at_k(lists, 4), lambda o, y: reference.precision(o, y, 4)),
    "r-precision": (r_precision, reference.r_precision),
    "map@r": (mean_average_precision_at_r, reference.average_precision_at_r),
}
VOTES = {"majority": None, "weighted": 0.3}
every_metric = pytest.mark.parametrize("name", METRICS)
every_vote = pytest.mark.parametrize("name", VOTES)


def vote(name, lists, k, **how):
    if name == "majority":
        return majority_vote_accuracy(lists, k, **how)
    return weighted_vote_accuracy(lists, k, temperature=VOTES[name], **how)


@st.composite
def tied_galleries(draw):
    """Three queries that are the first images of a gallery of six, with few different similarities."""
    levels = draw(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=3, max_size=3))
    labels = torch.tensor(draw(st.lists(st.integers(0, 2), min_size=6, max_size=6)))
    return torch.tensor(levels, dtype=torch.float64) / 4, labels


def ranked(similarities, labels, **how):
    queries = len(similarities)
    return rank_gallery(similarities, labels[:queries], labels, leave_self_out=torch.arange(queries), **how)


def others(similarities, labels, query):
    pairs = zip(similarities[query].tolist(), labels.tolist(), strict=True)
    return [pair for place, pair in enumerate(pairs) if place != query]


def assert_values(found, expected):
    values = torch.stack([found.optimistic, found.expected, found.pessimistic], dim=1)
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9, equal_nan=True)


def assert_same(found, again):
    assert_values(found, torch.stack([again.optimistic, again.expected, again.pessimistic], dim=1).tolist())


@every_metric
@given(gallery=tied_galleries())
def test_equals_the_loop_over_every_order(name, gallery):
    similarities, labels = gallery
    metric, loop = METRICS[name]
    expected = []
    for query in range(len(similarities)):
        neighbors, y = others(similarities, labels, query), int(labels[query])
        has_reference = any(label == y for _, label in neighbors)
        expected.append(reference.tied(neighbors, y, loop) if has_reference else (math.nan,) * 3)
    assert_values(metric(ranked(similarities, labels)), expected)


@every_vote
@pytest.mark.parametrize("k", [1, 3, 5])
@given(gallery=tied_galleries())
def test_votes_equal_the_loop_over_every_order(name, k, gallery):
    similarities, labels = gallery
    found = vote(name, ranked(similarities, labels), k, draws=4)
    for query in range(len(similarities)):
        neighbors, y = others(similarities, labels, query), int(labels[query])
        if not any(label == y for _, label in neighbors):
            assert found.expected[query].isnan()
            continue
        every = reference.orders(neighbors)
        wins = {level: [reference.wins(o, y, k, VOTES[name], level) for o in every] for level in ("wins", "loses")}
        assert found.optimistic[query] == max(wins["wins"])
        assert found.pessimistic[query] == min(wins["loses"])
        voters = {tuple(sorted(order[:k])) for order in every}
        if len(voters) == 1:
            assert found.expected[query] == pytest.approx(reference.wins(every[0], y, k, VOTES[name], "shares"))


@every_vote
def test_the_expected_vote_is_the_mean_over_every_order(name):
    similarities = torch.tensor([[0.0, 0.9, 0.5, 0.5, 0.5, 0.5, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 0, 1, 2, 0])
    every = reference.orders(others(similarities, labels, 0))
    mean = sum(reference.wins(order, 0, 3, VOTES[name], "shares") for order in every) / len(every)
    found = vote(name, ranked(similarities, labels), 3, draws=2000)
    assert found.expected.item() == pytest.approx(mean, abs=0.03)
    again = vote(name, ranked(similarities, labels), 3, draws=2000)
    assert found.expected.item() == again.expected.item()


@every_metric
@given(gallery=tied_galleries(), seed=st.integers(0, 99))
def test_bounds_hold_and_the_order_of_the_gallery_does_not_count(name, gallery, seed):
    similarities, labels = gallery
    metric = METRICS[name][0]
    lists = rank_gallery(similarities, labels[:3], labels)
    shuffled = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    found, again = (metric(x) for x in (lists, rank_gallery(similarities[:, shuffled], labels[:3], labels[shuffled])))
    assert_same(found, again)
    assert (found.pessimistic - 1e-12 <= found.expected).all()
    assert (found.expected <= found.optimistic + 1e-12).all()


def test_a_collapsed_embedding_scores_chance():
    """Ten classes of ten, all images alike: 9 of the 99 others are relevant."""
    labels = torch.arange(10).repeat(10)
    lists = ranked(torch.ones(100, 100), labels)
    chance = 9 / 99
    expected = {
        recall_at_k: (1, 1 - math.comb(90, 8) / math.comb(99, 8), 0),
        precision_at_k: (1, chance, 0),
    }
    for metric, values in expected.items():
        assert_values(metric(lists, 8), [values] * 100)
    assert_values(r_precision(lists), [(1, chance, 0)] * 100)
    addends = [((i - 1) * 8 / 98 + 1) / i * chance for i in range(1, 10)]
    assert_values(mean_average_precision_at_r(lists), [(1, sum(addends) / 9, 0)] * 100)
    for accuracy in (majority_vote_accuracy, weighted_vote_accuracy):
        votes = accuracy(lists, 8).mean()
        assert (votes.optimistic, votes.pessimistic) == (1, 0)
        assert votes.expected.item() == pytest.approx(0.1, abs=0.02)


def test_the_worked_example_of_map_at_r():
    """Musgrave et al., figure 3: of 10 references only the first, or the first, second, ninth and tenth are found."""
    labels = torch.tensor([1] + [0] * 9 + [1] * 9)
    only_first = rank_gallery(-torch.arange(19.0)[None], torch.tensor([1]), labels)
    assert r_precision(only_first).expected.item() == pytest.approx(0.1)
    assert mean_average_precision_at_r(only_first).expected.item() == pytest.approx(0.1)
    labels = torch.tensor([1, 1] + [0] * 6 + [1, 1] + [1] * 6)
    four = mean_average_precision_at_r(rank_gallery(-torch.arange(16.0)[None], torch.tensor([1]), labels))
    assert four.expected.item() == pytest.approx((1 + 1 + 3 / 9 + 4 / 10) / 10)


def test_a_large_tied_run_keeps_its_precision():
    labels = (torch.arange(200_000) < 2).long()
    lists = rank_gallery(torch.zeros(1, 200_000), torch.tensor([1]), labels)
    exact = 1 - math.comb(199_998, 1000) / math.comb(200_000, 1000)
    assert recall_at_k(lists, 1000).expected.item() == pytest.approx(exact, rel=1e-6)


@every_metric
def test_neighbors_found_by_a_search_give_the_same_values(name):
    torch.manual_seed(0)
    embeddings, labels = torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 7
    similarities = embeddings @ embeddings.T
    found = similarities.topk(10, dim=1)
    own = torch.arange(40)
    listed = rank_neighbors(found.indices, found.values, labels, labels, leave_self_out=own)
    assert_same(METRICS[name][0](listed), METRICS[name][0](ranked(similarities, labels)))
    assert listed.references.tolist() == ranked(similarities, labels).references.tolist()


def test_the_tolerance_ties_neighboring_places():
    similarities, labels = torch.tensor([[0.9, 0.89, 0.5]]), torch.tensor([0, 1, 0])
    query = torch.tensor([1])
    assert_values(recall_at_k(rank_gallery(similarities, query, labels), 1), [(0, 0, 0)])
    assert_values(recall_at_k(rank_gallery(similarities, query, labels, tolerance=0.02), 1), [(1, 0.5, 0)])
    tied = rank_gallery(similarities, query, labels, tolerance=0.02)
    assert_values(weighted_vote_accuracy(tied, 2), [(1, 0.5, 0)])


def test_a_query_without_references_is_counted_and_left_out():
    labels = torch.tensor([0, 0, 1])
    found = recall_at_k(ranked(torch.eye(3), labels), 2)
    assert found.expected.isnan().tolist() == [False, False, True]
    assert found.undefined == 1
    assert found.mean().expected == 1
    assert math.isnan(r_precision(ranked(torch.eye(1), labels[:1])).mean().expected)


def test_own_places_are_found_by_id():
    assert own_places(["b", "x", "a"], ["a", "b"]).tolist() == [1, -1, 0]
    with pytest.raises(ValueError, match="every gallery id must be unique, but 2 images have 1 ids"):
        own_places(["a"], ["a", "a"])


def test_mistakes_are_told_in_one_sentence():
    similarities, labels = torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.tensor([0, 1, 0, 1])
    query, indices = labels[:1], torch.arange(4)[None]
    with pytest.raises(ValueError, match="Recall@k needs 5 neighbors besides the query itself, but a list holds 4"):
        recall_at_k(rank_gallery(similarities, query, labels), 5)
    with pytest.raises(ValueError, match="k of 1 or more, but k is 0"):
        precision_at_k(rank_gallery(similarities, query, labels), 0)
    with pytest.raises(ValueError, match="cannot tell whether place 2 is tied with images beyond the end of 1 of 1"):
        recall_at_k(rank_neighbors(indices[:, :3], similarities[:, :3], query, labels), 2)
    with pytest.raises(ValueError, match="1 of 1 queries have a similarity that is not finite, first query 0"):
        rank_gallery(similarities / 0, query, labels)
    with pytest.raises(ValueError, match="every neighbor must lie from 0 to 3, but one is -1"):
        rank_neighbors(indices - 1, similarities, query, labels)
    with pytest.raises(ValueError, match="every query left out must lie from -1 to 3, but one is 4"):
        rank_gallery(similarities, query, labels, leave_self_out=torch.tensor([4]))
    with pytest.raises(ValueError, match="tolerance of ties must be 0 or more, but it is -1"):
        rank_gallery(similarities, query, labels, tolerance=-1.0)
    with pytest.raises(ValueError, match="at least one neighbor to rank, but the lists are empty"):
        rank_gallery(similarities[:, :0], query, labels[:0])
    with pytest.raises(ValueError, match="temperature above 0, but got 0"):
        weighted_vote_accuracy(rank_gallery(similarities, query, labels), 1, temperature=0.0)
    with pytest.raises(ValueError, match="needs 1 draw or more, but draws is 0"):
        majority_vote_accuracy(rank_gallery(similarities, query, labels), 1, draws=0)


@pytest.mark.parametrize("leave_self_out", [True, False])
def test_agrees_with_pytorch_metric_learning(leave_self_out):
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    torch.manual_seed(1)
    gallery, labels = torch.randn(120, 8, dtype=torch.float64), torch.randint(6, (120,))
    queries, query_labels = (gallery, labels) if leave_self_out else (torch.randn(30, 8).double(), labels[:30])
    lists = rank_gallery(
        queries @ gallery.T, query_labels, labels, leave_self_out=torch.arange(120) if leave_self_out else None
    )

    def nearest(query, k, reference, ref_includes_query):
        similarities = query @ reference.T
        if ref_includes_query:
            similarities = similarities.fill_diagonal_(-torch.inf)
        return similarities.topk(k, dim=1)

    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    theirs = calculator.AccuracyCalculator(include=names, k="max_bin_count", knn_func=nearest, kmeans_func=len)
    values = theirs.get_accuracy(queries, query_labels, gallery, labels, ref_includes_query=leave_self_out)
    ours = (precision_at_k(lists, 1), r_precision(lists), mean_average_precision_at_r(lists))
    assert [tied.mean().expected.item() for tied in ours] == pytest.approx([values[n] for n in names], abs=1e-6)
