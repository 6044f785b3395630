"""Decisions of easyfsl's methods: the same embeddings in, the same decisions out.

easyfsl's BD-CSPN has no epsilon and compares queries that were not shifted; its LaplacianShot rectifies prototypes so.
"""

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from fsl_explain.classifiers import BDCSPN, RULES, LaplacianShot, SupportSet
from fsl_explain.heads import Center, L2Normalize, Power
from fsl_explain.similarities import SIMILARITIES

methods = pytest.importorskip("easyfsl.methods")
pytestmark = pytest.mark.oracles
WAY, QUERY, CHANNELS = 5, 15, 32


def episode(seed, shot):
    """Classes of embeddings above 0 that overlap, so that no decision is easy."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(WAY, 1, CHANNELS, generator=generator)
    drawn = (centers + 2 * torch.randn(WAY, shot + QUERY, CHANNELS, generator=generator)).relu()
    return drawn[:, :shot].double(), drawn[:, shot:].flatten(0, 1).double()


def decided_by_easyfsl(method, supports, queries):
    method.process_support_set(supports.flatten(0, 1), torch.arange(WAY).repeat_interleave(supports.shape[1]))
    return method(queries)


def scores_of(rule, supports, queries, similarity):
    valid = torch.ones(supports.shape[:2], dtype=torch.bool)
    return rule.class_scores(
        queries, SupportSet(supports, valid, tuple("abcde"), None, queries), SIMILARITIES[similarity]
    )


every_episode = pytest.mark.parametrize(("seed", "shot"), [(seed, shot) for seed in range(6) for shot in (1, 5)])


@every_episode
def test_bd_cspn(seed, shot):
    supports, queries = (normalize(values, dim=-1) for values in episode(seed, shot))
    expected = decided_by_easyfsl(methods.BDCSPN(), supports, queries)
    found = scores_of(BDCSPN(epsilon=1.0, shifts_queries=False), supports, queries, "cosine")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture
def numbers_in_float64():
    """easyfsl makes some of its own in PyTorch's default; in float32 rounding says when its iteration ends."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@every_episode
def test_laplacian_shot(seed, shot, numbers_in_float64):
    supports, queries = (normalize(values, dim=-1) for values in episode(seed, shot))
    expected = decided_by_easyfsl(methods.LaplacianShot(), supports, queries)
    found = scores_of(LaplacianShot(regularization=0.7, rectified=True, epsilon=1.0), supports, queries, "euclidean")
    assert found.argmax(dim=-1).tolist() == expected.argmax(dim=-1).tolist()
    torch.testing.assert_close(found.softmax(dim=-1), expected, rtol=1e-9, atol=1e-9)


@every_episode
def test_simple_shot_is_a_prototype_behind_a_center_and_a_normalization(seed, shot):
    supports, queries = episode(seed, shot)
    mean = queries.mean(dim=0)
    expected = decided_by_easyfsl(
        methods.SimpleShot(feature_centering=mean, feature_normalization=2.0), supports, queries
    )
    head = nn.Sequential(Center(mean), L2Normalize())
    found = scores_of(RULES["prototype"], head(supports), head(queries), "cosine")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@every_episode
def test_prototypical_networks(seed, shot):
    supports, queries = episode(seed, shot)
    expected = decided_by_easyfsl(methods.PrototypicalNetworks(), supports, queries)
    found = scores_of(RULES["prototype"], supports, queries, "euclidean")
    torch.testing.assert_close(found, -expected.square(), rtol=1e-6, atol=1e-6)


def test_the_power_transform():
    from easyfsl.methods.utils import power_transform

    values = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(Power(0.5)(values), power_transform(values, 0.5), rtol=0, atol=1.1e-3)
