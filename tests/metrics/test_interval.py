import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import faithfulness as reference

from fsl_explain.metrics import mean_interval


@given(values=st.lists(st.one_of(st.floats(-100, 100), st.just(math.nan)), max_size=12))
def test_equals_the_loop_version(values):
    found = mean_interval(torch.tensor(values, dtype=torch.float64))
    assert found == pytest.approx(reference.mean_interval(values), abs=1e-9, nan_ok=True)


def test_is_taken_in_double_precision():
    values = torch.tensor([1000.0, 1000.25] * 50_000)
    mean, half_width, counted = mean_interval(values)
    assert mean == pytest.approx(1000.125, abs=1e-9)
    assert half_width == pytest.approx(1.96 * 0.125 / math.sqrt(100_000), rel=1e-9)
    assert counted == 100_000


def test_divides_by_the_count_as_the_few_shot_papers_do():
    assert mean_interval(torch.tensor([0.0, 1.0])).half_width == pytest.approx(1.96 * 0.5 / math.sqrt(2))
    assert mean_interval(torch.tensor([0.5])) == (0.5, 0.0, 1)


def test_nothing_known_is_nan_over_none():
    mean, half_width, counted = mean_interval(torch.tensor([math.nan, math.nan]))
    assert math.isnan(mean)
    assert math.isnan(half_width)
    assert counted == 0
