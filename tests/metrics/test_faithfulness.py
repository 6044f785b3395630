import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import faithfulness as reference

from fsl_explain import metrics

scores = st.lists(st.tuples(st.integers(-4, 8), st.integers(-8, 8)), min_size=1, max_size=8).map(
    lambda pairs: torch.tensor(pairs, dtype=torch.float64) / 8
)


def assert_agree(value, expected, tolerance):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(value.double(), expected, rtol=0, atol=tolerance, equal_nan=True)


@given(pairs=scores)
def test_equals_the_loop_version(pairs):
    s, masked = pairs.unbind(1)
    drop, rise = reference.average_drop(*pairs.T.tolist()), reference.increase_in_confidence(*pairs.T.tolist())
    assert_agree(metrics.average_drop(s, masked), drop, 1e-9)
    assert_agree(metrics.increase_in_confidence(s, masked), rise, 1e-9)
    assert_agree(metrics.average_drop(s.float(), masked.float()), drop, 1e-3)
    assert_agree(metrics.increase_in_confidence(s.float(), masked.float()), rise, 1e-3)


@given(pairs=scores)
def test_the_figures_are_the_means_of_the_queries(pairs):
    s, masked = pairs.unbind(1)
    drops, rises = metrics.drops(s, masked), metrics.increases(s, masked)
    assert_agree(metrics.average_drop(s, masked), metrics.mean_interval(drops).mean, 1e-9)
    assert_agree(metrics.increase_in_confidence(s, masked), metrics.mean_interval(rises).mean, 1e-9)
    assert metrics.average_drop_excluded(s) == len(s) - metrics.mean_interval(drops).counted


@given(pairs=scores)
def test_scaling_both_scores_changes_nothing(pairs):
    s, masked = pairs.unbind(1)
    assert_agree(metrics.average_drop(s * 4, masked * 4), metrics.average_drop(s, masked), 1e-9)
    assert_agree(metrics.increase_in_confidence(s * 4, masked * 4), metrics.increase_in_confidence(s, masked), 0)


def test_each_query_by_hand():
    s, masked = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0, -0.5]), torch.tensor([0.25, 0.5, 0.75, -0.25, 0.5, -0.6])
    torch.testing.assert_close(metrics.drops(s, masked)[:4], torch.tensor([50.0, 0.0, 0.0, 150.0]))
    assert metrics.drops(s, masked)[4:].isnan().all()
    assert metrics.increases(s, masked).tolist() == [0, 0, 100, 0, 100, 0]
    assert metrics.average_drop_excluded(s) == 2


def test_a_mask_that_removes_nothing_drops_nothing_and_raises_nothing():
    s = torch.tensor([0.9, 0.1, 0.4])
    assert metrics.average_drop(s, s).item() == 0
    assert metrics.increase_in_confidence(s, s).item() == 0


def test_no_query_with_a_positive_score_has_no_drop_but_may_rise():
    s, masked = torch.tensor([0.0, -1.0]), torch.tensor([0.5, -2.0])
    assert metrics.average_drop(s, masked).isnan()
    assert metrics.increase_in_confidence(s, masked).item() == 50
    assert metrics.average_drop(s[:0], masked[:0]).isnan()
    assert metrics.increase_in_confidence(s[:0], masked[:0]).isnan()


def test_an_unknown_score_counts_neither_for_nor_against():
    s, masked = torch.tensor([torch.nan, 0.5, 0.5]), torch.tensor([0.5, torch.nan, 0.75])
    assert metrics.increases(s, masked).isnan().tolist() == [True, True, False]
    assert metrics.increase_in_confidence(s, masked).item() == 100
    assert metrics.average_drop(s, masked).item() == 0
    assert metrics.average_drop_excluded(s) == 1
    assert metrics.average_drop_excluded(s, masked) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_figures_keep_the_precision_of_the_scores(dtype):
    s = torch.tensor([0.5], dtype=dtype)
    figures = [metrics.average_drop(s, s), metrics.increase_in_confidence(s, s), metrics.drops(s, s)]
    assert {figure.dtype for figure in [*figures, metrics.increases(s, s)]} == {dtype}
