from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from map_strategies import random_target, targets
from references import perturbation as reference

from fsl_explain import metrics

eighths = st.integers(-8, 8).map(lambda value: value / 8)


def assert_agree(values, expected, tolerance):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=tolerance, equal_nan=True)


@given(target=targets())
def test_complexity_equals_the_loop_version_and_ignores_the_scale(target):
    expected = [reference.complexity(L) for L in target.saliency.tolist()]
    assert_agree(metrics.complexity(target.saliency), expected, 1e-12)
    assert_agree(metrics.complexity(target.saliency.float()), expected, 1e-5)
    assert_agree(metrics.complexity(target.saliency * 0.3), expected, 1e-12)


def test_complexity_is_0_for_one_pixel_and_largest_for_a_constant_map():
    saliency = torch.zeros(3, 4, 5)
    saliency[0, 1, 1], saliency[1] = 0.3, 0.3
    saliency[2] = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    one, constant, between = metrics.complexity(saliency).tolist()
    assert (one, constant) == (0, pytest.approx(log(20)))
    assert 0 < between < constant


def test_single_precision_is_enough_for_a_photograph():
    saliency = random_target(batch=2, height=224, width=224, dtype=torch.float32).saliency
    assert_agree(metrics.complexity(saliency), metrics.complexity(saliency.double()), 1e-5)


def test_complexity_of_nothing_to_judge_is_nan():
    saliency = torch.ones(6, 2, 2)
    saliency[0], saliency[1] = 0, -1
    saliency[2, 0, 0], saliency[3, 0, 0], saliency[4, 0, 0] = torch.nan, torch.inf, -torch.inf
    assert metrics.complexity(saliency).isnan().tolist() == [True] * 5 + [False]


@given(parts=st.lists(eighths, min_size=1, max_size=6), bias=eighths, score=eighths)
def test_completeness_equals_the_loop_version(parts, bias, score):
    found = metrics.completeness_error(
        torch.tensor([parts], dtype=torch.float64),
        torch.tensor([bias], dtype=torch.float64),
        torch.tensor([score], dtype=torch.float64),
    )
    assert_agree(found, [reference.completeness_error(parts, bias, score)], 1e-12)


def test_completeness_by_hand():
    cells = torch.tensor([[[0.5, 0.25]], [[0.5, 0.25]], [[0.0, 0.0]], [[0.5, torch.nan]], [[0.5, 0.5]]])
    bias = torch.tensor([0.25, 0.0, 0.0, 0.0, 0.0])
    found = metrics.completeness_error(cells, bias, torch.tensor([1.0, -1.0, 0.5, 0.5, 0.0]))
    assert found[:3].tolist() == [0, 1.75, 1]
    assert found[3:].isnan().all()
