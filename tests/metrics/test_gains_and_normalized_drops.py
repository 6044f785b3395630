import torch
from hypothesis import given
from hypothesis import strategies as st
from references import perturbation as reference

from fsl_explain import metrics

triples = st.lists(st.tuples(st.integers(-4, 9), st.integers(-8, 8), st.integers(-4, 4)), min_size=1, max_size=8).map(
    lambda rows: torch.tensor(rows, dtype=torch.float64) / 8
)


def assert_agree(values, expected, tolerance=1e-12):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=tolerance, equal_nan=True)


@given(rows=triples)
def test_equal_the_loop_versions_and_the_means_leave_nan_out(rows):
    s, masked, blank = rows.unbind(1)
    gains, drops = reference.gains(s.tolist(), masked.tolist()), reference.normalized_drops(*rows.T.tolist())
    assert_agree(metrics.gains(s, masked), gains)
    assert_agree(metrics.normalized_drops(s, masked, blank), drops)
    assert_agree(metrics.average_gain(s, masked), torch.tensor(gains, dtype=torch.float64).nanmean())
    assert_agree(metrics.normalized_drop(s, masked, blank), torch.tensor(drops, dtype=torch.float64).nanmean())
    assert_agree(metrics.gains(s.float(), masked.float()), gains, 1e-3)


@given(rows=triples)
def test_a_query_does_not_both_gain_and_drop(rows):
    s, masked, _ = rows.unbind(1)
    gains, drops = metrics.gains(s, masked), metrics.drops(s, masked)
    assert not ((gains > 0) & (drops > 0)).any()
    assert torch.equal(gains > 0, (metrics.increases(s, masked) > 0) & (s < 1))


@given(rows=triples)
def test_the_normalized_drop_ignores_a_constant_added_to_all_scores(rows):
    s, masked, blank = rows.unbind(1)
    shifted = metrics.normalized_drops(s + 0.75, masked + 0.75, blank + 0.75)
    assert_agree(shifted, metrics.normalized_drops(s, masked, blank))


def test_by_hand():
    s = torch.tensor([0.5, 0.5, 0.5, 1.0, 0.5])
    masked = torch.tensor([0.75, 0.25, 0.0, 1.5, torch.nan])
    assert metrics.gains(s, masked)[:3].tolist() == [50.0, 0.0, 0.0]
    assert metrics.gains(s, masked)[3:].isnan().all()
    drops = metrics.normalized_drops(s, masked, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]))
    assert drops[:3].tolist() == [-0.5, 0.5, 1.0]
    assert drops[3:].isnan().all()


def test_an_all_ones_mask_has_neither_gain_nor_drop():
    s = torch.tensor([0.9, 0.1, 0.4])
    assert metrics.average_gain(s, s).item() == 0
    assert metrics.normalized_drop(s, s, torch.zeros(3)).item() == 0
    assert metrics.average_gain(s[:0], s[:0]).isnan()
