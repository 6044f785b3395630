import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsl_explain.report.bars import bars
from fsl_explain.report.numbers import decimals, figure, fixed, scientific

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)


def laid_out(values, symmetric=False):
    return bars(["label"] * len(values), values, ["text"] * len(values), symmetric=symmetric)


@pytest.mark.parametrize("symmetric", [True, False])
@given(values=VALUES)
def test_bars_start_at_zero_point_by_sign_and_stay_on_the_track(symmetric, values):
    shown = laid_out(values, symmetric)
    for bar, value in zip(shown.bars, values, strict=True):
        start = bar.left if value >= 0 else bar.left + bar.width
        assert start == pytest.approx(shown.zero)
        assert bar.positive == (value >= 0)
        assert -1e-9 <= bar.left <= bar.left + bar.width <= 100 + 1e-9
    if symmetric and any(values):
        assert shown.zero == pytest.approx(50)


def test_lengths_are_in_proportion():
    shown = laid_out([4.0, 2.0, -1.0])
    assert [bar.width for bar in shown.bars] == [80, 40, 20]
    assert shown.zero == 20


def test_scores_that_are_not_numbers_have_no_length():
    assert [bar.width for bar in laid_out([float("nan"), 1.0]).bars] == [0, 100]
    assert [bar.width for bar in laid_out([0.0, 0.0]).bars] == [0, 0]


def test_the_largest_value_gets_the_significant_digits():
    assert [decimals([value], 4) for value in (0.0, 12345.0, 12.0, 1.0, 0.0123)] == [3, 0, 2, 3, 5]
    assert decimals([0.001, 12.0, float("nan")], 4) == 2


def test_numbers_are_written_with_a_true_minus_and_no_negative_zero():
    assert [fixed(value, 2, plus=True) for value in (1.0, -1.0, -0.001, 0.0)] == ["+1.00", "−1.00", "0.00", "0.00"]
    assert [fixed(value, 1) for value in (float("nan"), float("-inf"))] == ["–", "−inf"]
    assert scientific(1.23e-8) == "1.2e−08"
    assert [figure(value) for value in (23.456, 0.12345, -100.0, float("nan"))] == ["23.5", "0.123", "−100.0", "–"]
