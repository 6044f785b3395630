import torch
from hypothesis import given
from map_strategies import random_target, targets
from references import localization as reference

from fsl_explain.metrics import sparseness


def assert_agree(values, expected, tolerance):
    torch.testing.assert_close(values.double(), expected.double(), rtol=0, atol=tolerance, equal_nan=True)


@given(target=targets())
def test_equals_the_loop_version(target):
    expected = torch.tensor([reference.sparseness(L) for L in target.saliency.tolist()], dtype=torch.float64)
    assert_agree(sparseness(target.saliency), expected, 1e-9)
    assert_agree(sparseness(target.saliency.float()), expected, 1e-5)


@given(target=targets())
def test_scaling_or_batching_a_map_changes_nothing(target):
    alone = torch.cat([sparseness(L[None]) for L in target.saliency])
    assert_agree(sparseness(target.saliency * 0.3), alone, 1e-12)


def test_is_zero_for_a_constant_map_and_near_one_for_a_single_pixel():
    saliency = torch.zeros(2, 4, 5)
    saliency[0], saliency[1, 2, 3] = 0.3, 0.3
    torch.testing.assert_close(sparseness(saliency), torch.tensor([0.0, 1 - 1 / 20]))


def test_single_precision_is_enough_for_a_photograph():
    saliency = random_target(batch=2, height=224, width=224, dtype=torch.float32).saliency
    values = sparseness(saliency)
    assert values.dtype == torch.float32
    assert_agree(values, sparseness(saliency.double()), 1e-5)


def test_nothing_to_judge_is_nan():
    saliency = torch.ones(6, 2, 2)
    saliency[0], saliency[1] = 0, -1
    saliency[2, 0, 0], saliency[3, 0, 0], saliency[4, 0, 0] = torch.nan, torch.inf, -torch.inf
    assert sparseness(saliency).isnan().tolist() == [True] * 5 + [False]
