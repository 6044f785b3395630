"""Retrieval scores over embeddings against loops, another library, and what chance would give."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from real_embeddings import birds
from references import ranking as reference

from fsl_explain.similarities import SIMILARITIES
from retrieval_explain.ranking.retrieval_scores import Searched, chance_levels, retrieval_scores

every_similarity = pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])
LOOPS = {
    "recall@1": lambda order, y: reference.recall(order, y, 1),
    "recall@4": lambda order, y: reference.recall(order, y, 4),
    "recall@8": lambda order, y: reference.recall(order, y, 8),
    "r-precision": reference.r_precision,
    "map@r": reference.average_precision_at_r,
    "weighted vote": lambda order, y: reference.wins(order, y, 7, 0.3, "shares"),
    "majority vote": lambda order, y: reference.wins(order, y, 7, None, "shares"),
}


def among_each_other(embeddings, labels, similarity="cosine", **how):
    own = torch.arange(len(embeddings))
    return Searched(embeddings, labels, own, embeddings, labels, similarity, **how)


def random_bank(seed, images=24, classes=4):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(images, 6))).float(), torch.from_numpy(rng.permutation(images) % classes)


def by_loops(searched, query):
    """The other images of the gallery in falling similarity, as (similarity, label)."""
    pairwise = SIMILARITIES[searched.similarity].pairwise
    values = pairwise(searched.queries[query : query + 1].double(), searched.gallery.double())[0]
    pairs = zip(values.tolist(), searched.gallery_labels.tolist(), strict=True)
    others = [pair for row, pair in enumerate(pairs) if row != searched.own[query]]
    return sorted(others, key=lambda pair: -pair[0])


@every_similarity
@given(seed=st.integers(0, 999))
def test_scores_equal_the_loops(similarity, seed):
    searched = among_each_other(*random_bank(seed), similarity)
    found = retrieval_scores(searched, k=7, temperature=0.3)
    for query in range(0, 24, 5):
        order, y = by_loops(searched, query), int(searched.labels[query])
        for name, loop in LOOPS.items():
            assert found[name].expected[query].item() == pytest.approx(loop(order, y), abs=1e-9), name


@given(seed=st.integers(0, 999))
def test_a_gallery_of_its_own_is_searched_whole(seed):
    gallery, labels = random_bank(seed)
    queries, own = gallery[:5] + 0.1, torch.full((5,), -1)
    searched = Searched(queries, labels[:5], own, gallery, labels, "cosine")
    found = retrieval_scores(searched, k=7, temperature=0.3)
    assert searched.reach == 24
    for query in range(5):
        assert len(by_loops(searched, query)) == 24
        for name, loop in LOOPS.items():
            expected = loop(by_loops(searched, query), int(labels[query]))
            assert found[name].expected[query].item() == pytest.approx(expected, abs=1e-9), name


@every_similarity
def test_blocks_change_nothing_and_are_no_larger_than_asked_for(similarity):
    embeddings, labels = random_bank(0, images=60)
    whole = among_each_other(embeddings, labels, similarity)
    pieces = among_each_other(embeddings, labels, similarity, pairs_at_once=7 * 60)
    assert [len(block) for _, block in pieces.blocks()] == [7] * 8 + [4]
    ours, theirs = (retrieval_scores(searched, 9, 0.07) for searched in (whole, pieces))
    for name in ours:
        assert torch.equal(ours[name].expected, theirs[name].expected), name
    assert torch.equal(whole.neighbors(9).indices, pieces.neighbors(9).indices)


@every_similarity
def test_neighbors_are_the_nearest_others_in_order(similarity):
    embeddings, labels = random_bank(1, images=30)
    embeddings[17] = embeddings[4]
    searched = among_each_other(embeddings, labels, similarity)
    found = searched.neighbors(12)
    for query in range(30):
        values = SIMILARITIES[similarity].pairwise(embeddings[query : query + 1].double(), embeddings.double())[0]
        ranked = sorted((row for row in range(30) if row != query), key=lambda row: (-values[row].item(), row))
        got = found.indices[query].tolist()
        assert query not in got
        assert sorted(got) == sorted(ranked[:12]) or {4, 17} & set(ranked[11:13])
        torch.testing.assert_close(found.similarities[query], values[ranked[:12]], rtol=0, atol=1e-12)
    assert found.indices[4, 0] == 17
    assert found.indices[17, 0] == 4
    assert torch.equal(found.labels, labels[found.indices])
    assert searched.neighbors(500).indices.shape == (30, 29)


@every_similarity
def test_a_collapsed_embedding_scores_chance_and_not_one(similarity):
    """All embeddings alike but for rounding, some 1e-16 of their size."""
    labels = torch.arange(40) % 5
    direction = torch.linspace(0.3, 1.7, 33, dtype=torch.float64)
    scales = 1 + torch.arange(40, dtype=torch.float64)[:, None] * 1e-16
    searched = among_each_other(direction * 100 * scales, labels, similarity)
    found = retrieval_scores(searched, k=12, temperature=0.07)
    chance = chance_levels(searched, k=12)
    for name, score in found.items():
        mean = score.mean()
        assert mean.optimistic == 1, name
        assert mean.pessimistic == 0, name
        assert mean.expected.item() == pytest.approx(chance[name], abs=0.02), name
    assert chance["recall@1"] == pytest.approx(7 / 39)
    assert chance["r-precision"] == pytest.approx(7 / 39)
    assert chance["weighted vote"] == pytest.approx(chance["majority vote"], abs=0.02)


def test_chance_is_the_mean_over_shuffled_labels():
    embeddings, labels = random_bank(3, images=40, classes=3)
    labels = labels.clamp(max=1)
    found = {}
    for seed in range(60):
        shuffled = labels[torch.from_numpy(np.random.default_rng(seed).permutation(40))]
        for name, score in retrieval_scores(among_each_other(embeddings, shuffled), 9, 1e6).items():
            found.setdefault(name, []).append(score.mean().expected.item())
    chance = chance_levels(among_each_other(embeddings, labels), k=9)
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(chance[name], abs=4 * np.std(values) / np.sqrt(60) + 0.01), name


def test_what_cannot_be_scored_is_left_out_or_refused():
    embeddings, labels = random_bank(4, images=6, classes=2)
    labels[0] = 7
    found = retrieval_scores(among_each_other(embeddings, labels), k=200, temperature=0.07)
    assert "recall@4" in found
    assert "recall@8" not in found
    assert {score.undefined for score in found.values()} == {1}
    assert set(chance_levels(among_each_other(embeddings, labels), k=200)) == set(found)
    with pytest.raises(ValueError, match="a gallery with an image besides the query, but it has 1; add images"):
        among_each_other(embeddings[:1], labels[:1])


def test_progress_counts_every_query_once():
    done = []
    searched = among_each_other(*random_bank(5), pairs_at_once=100)
    retrieval_scores(searched, 3, 0.07, done.append)
    assert done == [4] * 6


@pytest.mark.real
@pytest.mark.slow
def test_real_birds_score_as_in_another_library_and_by_loops(cub10):
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    embeddings, labels = birds(cub10)
    searched = among_each_other(embeddings, labels)
    found = {name: score.mean().expected.item() for name, score in retrieval_scores(searched, 40, 0.07).items()}

    def nearest(query, k, reference, ref_includes_query):
        values = SIMILARITIES["cosine"].pairwise(query, reference)
        return (values.fill_diagonal_(-torch.inf) if ref_includes_query else values).topk(k, dim=1)

    theirs = {"precision_at_1": "recall@1", "r_precision": "r-precision", "mean_average_precision_at_r": "map@r"}
    judge = calculator.AccuracyCalculator(include=tuple(theirs), k="max_bin_count", knn_func=nearest, kmeans_func=len)
    values = judge.get_accuracy(embeddings.double(), labels, embeddings.double(), labels, ref_includes_query=True)
    assert values["precision_at_1"] > 0.7
    assert [found[ours] for ours in theirs.values()] == pytest.approx([values[name] for name in theirs], abs=1e-6)
    orders = [by_loops(searched, query) for query in range(len(labels))]
    for depth in (1, 2, 4, 8):
        hits = [reference.recall(order, int(y), depth) for order, y in zip(orders, labels, strict=True)]
        assert found[f"recall@{depth}"] == pytest.approx(np.mean(hits), abs=1e-9)
    for name, tau in (("weighted vote", 0.07), ("majority vote", None)):
        wins = [reference.wins(order, int(y), 40, tau, "shares") for order, y in zip(orders, labels, strict=True)]
        assert found[name] == pytest.approx(np.mean(wins), abs=0.01)
