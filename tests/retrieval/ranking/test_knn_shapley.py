"""Exact KNN-Shapley values against brute force, the published recursion, and flipped labels."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import knn_shapley as reference
from references import shapley
from sklearn.metrics import average_precision_score

from retrieval_explain.ranking.knn_shapley import (
    knn_shapley,
    leave_one_out_shapley,
    likeliest_mislabeled,
    shapley_values,
)


def dot(query, gallery):
    return query @ gallery.T


def close(found, expected, atol=1e-12):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=atol)


def game(seed, images=7, queries=3):
    """Similarities without ties, and which images match."""
    rng = np.random.default_rng(seed)
    similarities = torch.from_numpy(rng.permuted(np.tile(np.arange(images) / images, (queries, 1)), axis=1))
    return similarities, torch.from_numpy(rng.random((queries, images)) < 0.5)


@pytest.mark.parametrize("k", [1, 3, 7, 10])
@given(seed=st.integers(0, 999))
def test_equals_the_recursion_of_the_paper(k, seed):
    similarities, is_match = game(seed, images=12)
    rows = zip(similarities.tolist(), is_match.int().tolist(), strict=True)
    close(shapley_values(similarities, is_match, k), [reference.values(s, match, k) for s, match in rows])


@pytest.mark.parametrize("k", [1, 2, 3, 7, 9])
def test_equals_brute_force_over_all_subsets(k):
    similarities, is_match = game(seed=k)
    found = shapley_values(similarities, is_match, k)
    for query, (s, match) in enumerate(zip(similarities.tolist(), is_match.int().tolist(), strict=True)):
        close(found[query], shapley.values(lambda T, s=s, m=match: reference.utility(T, s, m, k), 7))
        close(torch.tensor(reference.values(s, match, k)).double(), found[query], atol=1e-7)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
@given(
    levels=st.lists(st.integers(0, 2), min_size=6, max_size=6), matches=st.lists(st.booleans(), min_size=6, max_size=6)
)
def test_tied_images_are_valued_as_the_mean_over_their_orders(k, levels, matches):
    """The loop version prefers the lower place among equals, so orders of the places are orders of the tied."""
    total = np.zeros(6)
    orders = list(permutations(range(6)))
    for order in orders:
        values = reference.values([levels[i] for i in order], [int(matches[i]) for i in order], k)
        total[list(order)] += values
    found = shapley_values(torch.tensor([levels]).double(), torch.tensor([matches]), k)
    close(found[0], total / len(orders))


@given(seed=st.integers(0, 999), k=st.integers(1, 9), levels=st.integers(1, 12))
def test_values_sum_to_the_share_of_matches_among_the_nearest(seed, k, levels):
    """Efficiency: the whole gallery's utility; that of no image is 0. The tied at place k count by their mean."""
    similarities, is_match = game(seed)
    coarse = (similarities * levels).floor()
    utility = []
    for s, match in zip(coarse, is_match.double(), strict=True):
        last = s.sort(descending=True).values[min(k, 7) - 1]
        above, level = s > last, s == last
        utility.append((match[above].sum() + (min(k, 7) - above.sum()) * match[level].mean()) / k)
    close(shapley_values(coarse, is_match, k).sum(dim=1), torch.stack(utility))


@given(seed=st.integers(0, 99), k=st.integers(1, 8))
def test_a_query_left_out_changes_nothing_for_the_others(seed, k):
    similarities, is_match = game(seed, images=7, queries=7)
    found = shapley_values(similarities, is_match, k, leave_self_out=torch.arange(7))
    for query in range(7):
        rest = [image for image in range(7) if image != query]
        alone = shapley_values(similarities[query : query + 1, rest], is_match[query : query + 1, rest], k)
        close(found[query, rest], alone[0])
        assert found[query, query] == 0


def clusters(seed=0, flipped=20):
    """Two hundred images in four clusters, some with the label of another cluster."""
    rng = np.random.default_rng(seed)
    true = np.arange(200) % 4
    embeddings = torch.from_numpy(np.eye(4)[true] * 3 + rng.normal(size=(200, 4)))
    is_flipped = np.zeros(200, dtype=bool)
    is_flipped[rng.choice(200, flipped, replace=False)] = True
    labels = np.where(is_flipped, (true + rng.integers(1, 4, 200)) % 4, true)
    return (
        torch.nn.functional.normalize(embeddings, dim=1),
        torch.from_numpy(true),
        torch.from_numpy(labels),
        is_flipped,
    )


def test_blocks_do_not_change_the_mean():
    embeddings, _, labels, _ = clusters()
    whole = leave_one_out_shapley(embeddings, labels, dot, k=5)
    close(leave_one_out_shapley(embeddings, labels, dot, k=5, pairs_at_once=1400), whole)
    close(leave_one_out_shapley(embeddings, labels, dot, k=5, pairs_at_once=1), whole)
    per_query = shapley_values(dot(embeddings, embeddings), labels[:, None] == labels, 5, torch.arange(200))
    close(whole, per_query.mean(dim=0))


def test_no_block_is_larger_than_asked_for():
    sizes = []

    def counted(query, gallery):
        sizes.append(len(query) * len(gallery))
        return dot(query, gallery)

    embeddings, _, labels, _ = clusters()
    knn_shapley(embeddings, embeddings, labels, labels, counted, k=5, pairs_at_once=1500)
    assert max(sizes) == 1400
    assert sum(sizes) == 200 * 200


def test_flipping_a_label_lowers_the_value_of_the_image():
    embeddings, true, _, _ = clusters()
    queries, query_labels, gallery, labels = embeddings[:100], true[:100], embeddings[100:], true[100:]
    before = knn_shapley(queries, gallery, query_labels, labels, dot, k=5)
    for image in (0, 17, 60):
        flipped = labels.clone()
        flipped[image] = (flipped[image] + 1) % 4
        assert knn_shapley(queries, gallery, query_labels, flipped, dot, k=5)[image] < before[image]


def test_flipped_labels_are_found_far_better_than_by_chance():
    embeddings, _, labels, is_flipped = clusters()
    values = leave_one_out_shapley(embeddings, labels, dot, k=5)
    assert average_precision_score(is_flipped, -values.numpy()) > 0.8
    assert is_flipped[likeliest_mislabeled(values)[:10].numpy()].mean() >= 0.9
    shuffled = np.random.default_rng(1).permutation(200)
    assert average_precision_score(is_flipped, shuffled) < 0.25


def test_the_lowest_value_comes_first_and_ties_by_place():
    assert likeliest_mislabeled(torch.tensor([0.1, -0.2, 0.1, -0.2, 0.0])).tolist() == [1, 3, 4, 0, 2]


def test_a_collapsed_embedding_values_images_by_their_class_alone():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    values = leave_one_out_shapley(torch.ones(6, 2), labels, dot, k=2)
    for label in range(3):
        assert values[labels == label].unique().numel() == 1
    assert values[0] > values[3] > values[5]


def test_mistakes_are_told_in_one_sentence():
    similarities, is_match = game(0)
    with pytest.raises(ValueError, match="needs k of 1 or more, but k is 0"):
        shapley_values(similarities, is_match, 0)
    similarities[1, 4] = torch.nan
    with pytest.raises(ValueError, match="1 of 7 gallery images have a similarity that is not finite, first 4"):
        shapley_values(similarities, is_match, 2)
    with pytest.raises(ValueError, match="mean over queries, but there is none"):
        knn_shapley(torch.ones(0, 2), torch.ones(3, 2), torch.arange(0), torch.arange(3), dot, k=1)
