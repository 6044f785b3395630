"""Mahalanobis against scipy and scikit-learn, and what it refuses."""

import numpy as np
import pytest
import torch
from decision_parts import random_precision
from scipy.spatial import distance
from sklearn.covariance import LedoitWolf
from tiny_encoder import CHANNELS, images, tiny_encoder

from fsl_explain import explain
from fsl_explain.similarities import Mahalanobis

NOT_A_PRECISION = r"needs a symmetric positive definite precision matrix, but this one of shape \(2, 2\) is not; fit"
TOO_FEW = r"a covariance needs at least two different embeddings, but got fewer; give more supports"


def values(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_is_minus_the_squared_distance_of_scipy():
    precision, query, gallery = random_precision(5), values(3, 5, seed=1), values(4, 5, seed=2)
    expected = [[-(distance.mahalanobis(q, g, precision) ** 2) for g in gallery] for q in query]
    found = Mahalanobis(precision).pairwise(query, gallery)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_identity_makes_it_euclidean_and_single_precision_stays_single():
    query, gallery = values(3, 5, seed=1), values(4, 5, seed=2)
    plain = Mahalanobis(torch.eye(5))
    torch.testing.assert_close(plain.pairwise(query, gallery), -torch.cdist(query, gallery).square())
    assert plain.pairwise(query.float(), gallery.float()).dtype == torch.float32


def test_without_labels_the_covariance_is_that_of_scikit_learn():
    embeddings = values(12, 4) * torch.tensor([1.0, 3.0, 0.5, 2.0]) + 7
    found = Mahalanobis.fit(embeddings).precision
    np.testing.assert_allclose(found, LedoitWolf().fit(embeddings.numpy()).get_precision(), rtol=1e-9)


def test_with_labels_the_covariance_is_that_around_the_class_means():
    embeddings, labels = values(9, 4), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    moved = embeddings + 100.0 * labels[:, None]
    around = [moved.numpy()[labels == label] - moved.numpy()[labels == label].mean(axis=0) for label in range(3)]
    expected = LedoitWolf(assume_centered=True).fit(np.concatenate(around)).get_precision()
    np.testing.assert_allclose(Mahalanobis.fit(moved, labels).precision, expected, rtol=1e-6)


def test_a_class_of_one_tells_nothing_and_classes_of_one_are_taken_together():
    embeddings = values(5, 3)
    with_single = Mahalanobis.fit(embeddings, torch.tensor([0, 0, 1, 1, 2])).precision
    torch.testing.assert_close(with_single, Mahalanobis.fit(embeddings[:4], torch.tensor([0, 0, 1, 1])).precision)
    torch.testing.assert_close(
        Mahalanobis.fit(embeddings, torch.arange(5)).precision, Mahalanobis.fit(embeddings).precision
    )


def test_by_name_it_is_fitted_on_the_supports_that_are_real():
    encoder, query = tiny_encoder(), images(seed=1)
    supports = {"a": images(4, seed=2), "b": images(2, seed=3), "c": images(3, seed=4)}
    embeddings = encoder(torch.cat(list(supports.values()))).embedding
    fitted = Mahalanobis.fit(embeddings, torch.tensor([0] * 4 + [1] * 2 + [2] * 3))
    by_name, by_object = (explain(encoder, query, supports, similarity=s) for s in ("mahalanobis", fitted))
    torch.testing.assert_close(by_name.decision.scores, by_object.decision.scores)
    assert fitted.precision.shape == (CHANNELS, CHANNELS)


@pytest.mark.parametrize(
    "matrix",
    [torch.tensor([[1.0, 0.5], [0.0, 1.0]]), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.ones(2, 2)],
    ids=["not symmetric", "indefinite", "singular"],
)
def test_a_matrix_that_measures_no_distance_is_refused(matrix):
    with pytest.raises(ValueError, match=NOT_A_PRECISION):
        Mahalanobis(matrix)


@pytest.mark.parametrize("embeddings", [values(1, 3), torch.ones(4, 3)], ids=["one", "all alike"])
def test_embeddings_without_spread_have_no_covariance(embeddings):
    with pytest.raises(ValueError, match=TOO_FEW):
        Mahalanobis.fit(embeddings)


def test_two_embeddings_differ_in_one_direction_only():
    for labels in (None, torch.tensor([0, 0])):
        with pytest.raises(ValueError, match=r"a covariance needs embeddings that differ in two directions; give more"):
            Mahalanobis.fit(values(2, 3), labels)
    assert Mahalanobis.fit(values(3, 5)).precision.shape == (5, 5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf], ids=str)
def test_a_covariance_of_what_is_not_finite_is_refused(bad):
    embeddings = values(6, 3)
    embeddings[2, 1] = bad
    with pytest.raises(ValueError, match=r"a covariance needs finite embeddings, but got some that are not; leave"):
        Mahalanobis.fit(embeddings)


def test_every_embedding_has_a_label():
    with pytest.raises(ValueError, match=r"expected a label for each of 6 embeddings, but got 4; give as many"):
        Mahalanobis.fit(values(6, 3), torch.arange(4))


@pytest.mark.parametrize("function", ["pairwise", "form"])
def test_embeddings_of_another_encoder_are_refused(function):
    fitted = Mahalanobis(torch.eye(3))
    with pytest.raises(
        ValueError, match=r"expected embeddings of 3 channels, as the Mahalanobis distance was made for"
    ):
        getattr(fitted, function)(values(2, 5), values(2, 5))
