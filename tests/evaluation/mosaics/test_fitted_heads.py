"""Heads fitted on pooled features, against scikit-learn and by what they must do."""

import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from torch import nn

from fsl_explain.evaluation.mosaics.fitted_heads import find_head
from fsl_explain.heads import linearize
from fsl_explain.registries import MOSAIC_HEADS


@pytest.fixture(scope="module")
def features():
    """Thirty images of six classes with 8 channels: class means of size 3 in noise of size 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(6).repeat(5)
    means = 3 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    return means[labels] + torch.randn(30, 8, generator=generator, dtype=torch.float64) + 5, labels


def assert_equal_up_to_signs(found, expected):
    signs = (found * expected).sum(dim=0).sign()
    torch.testing.assert_close(found, signs * expected)


def test_pca_is_that_of_scikit_learn(features):
    pooled, labels = features
    expected = torch.from_numpy(PCA(n_components=8).fit_transform(pooled.numpy()))
    assert_equal_up_to_signs(find_head("pca-128")(pooled, labels, 0)(pooled), expected)


def test_class_pca_is_the_pca_of_the_class_means(features):
    pooled, labels = features
    means = torch.stack([pooled[labels == label].mean(dim=0) for label in range(6)])
    expected = torch.from_numpy(PCA(n_components=5).fit(means.numpy()).transform(pooled.numpy()))
    found = find_head("class-pca")(pooled, 7 * labels, 0)(pooled)
    assert found.shape == (30, 5)
    assert_equal_up_to_signs(found, expected)


def test_class_pca_keeps_at_most_16_dimensions():
    pooled = torch.randn(60, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert find_head("class-pca")(pooled, torch.arange(20).repeat(3), 0)(pooled).shape == (60, 16)


def test_the_center_is_the_mean_of_the_crops(features):
    pooled, labels = features
    torch.testing.assert_close(find_head("center")(pooled, labels, 0)(pooled), pooled - pooled.mean(dim=0))


@pytest.mark.parametrize("name", ["linear", "lda"])
def test_heads_that_learn_which_channels_tell_the_classes_apart(name):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(6).repeat(20)
    means = torch.randn(6, 8, generator=generator, dtype=torch.float64)

    def drawn():
        """Eight channels that tell the classes apart, eight that are louder and say nothing."""
        quiet, loud = torch.randn(2, len(labels), 8, generator=generator, dtype=torch.float64)
        return torch.cat([means[labels] + quiet / 4, 4 * loud], dim=1)

    pooled, new = drawn(), drawn()
    head = find_head(name)(pooled, labels, 0)

    def found(embedding, references):
        similarities = nn.functional.cosine_similarity(embedding[:, None], references[None], dim=-1)
        return float((labels[similarities.argmax(dim=1)] == labels).double().mean())

    assert found(new, pooled) < 0.6
    assert found(head(new), head(pooled)) > 0.9


def test_training_depends_on_its_seed_alone(features):
    state = torch.random.get_rng_state()
    first, again, other = (find_head("linear")(*features, seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_discriminant_sees_the_spread_within_classes_as_a_ball(features):
    pooled, labels = features
    means = torch.stack([pooled[labels == label].mean(dim=0) for label in range(6)])
    covariance, shrinkage = ledoit_wolf((pooled - means[labels]).numpy(), assume_centered=True)
    assert 0 < shrinkage < 1
    head = find_head("lda")(pooled, 3 * labels, 0)
    seen = head.weight @ torch.from_numpy(covariance) @ head.weight.T
    torch.testing.assert_close(seen, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(head(means.mean(dim=0)), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match=r"'lda' needs two images of a class to be fitted on; raise mosaics.fit_share"):
        find_head("lda")(means, torch.arange(6), 0)


@pytest.mark.parametrize("name", MOSAIC_HEADS)
def test_every_head_can_be_explained_and_is_left_alone_by_gradients(name, features):
    pooled, labels = features
    head = find_head(name)(pooled, labels, 0)
    linear = linearize(head, pooled)
    zero = torch.zeros_like(pooled)
    torch.testing.assert_close(linear.offset, head(zero))
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_an_unknown_head_is_answered_with_near_ones():
    with pytest.raises(LookupError, match=r"unknown head 'class-pcs'; did you mean 'class-pca'"):
        find_head("class-pcs")
