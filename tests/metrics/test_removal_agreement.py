"""Whether a map tells the drops, against scipy, a slow second writing, and what must not matter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fsl_explain import metrics

FIGURES = {
    "correlation": metrics.removal_correlation,
    "rank": metrics.removal_rank_correlation,
    "infidelity": metrics.infidelity,
}
every_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_correlations_are_those_of_scipy():
    claimed, drops = drawn(5, 12).round(decimals=1), drawn(5, 12, seed=1).round(decimals=1)
    for row in range(5):
        pair = claimed[row].numpy(), drops[row].numpy()
        pearson, spearman = stats.pearsonr(*pair).statistic, stats.spearmanr(*pair).statistic
        assert float(metrics.removal_correlation(claimed, drops)[row]) == pytest.approx(pearson)
        assert float(metrics.removal_rank_correlation(claimed, drops)[row]) == pytest.approx(spearman)


def test_the_partial_correlation_is_that_of_what_a_line_over_the_sizes_leaves():
    claimed, drops = drawn(4, 15), drawn(4, 15, seed=1)
    sizes = torch.randint(1, 9, (4, 15), generator=torch.Generator().manual_seed(2)).double()
    found = metrics.removal_partial_correlation(claimed, drops, sizes)
    for row in range(4):
        line = np.stack([np.ones(15), sizes[row].numpy()], axis=1)
        left = [
            one[row].numpy() - line @ np.linalg.lstsq(line, one[row].numpy(), rcond=None)[0] for one in (claimed, drops)
        ]
        assert float(found[row]) == pytest.approx(stats.pearsonr(*left).statistic)


@given(st.floats(-50, 50), st.integers(0, 99))
def test_counting_regions_adds_nothing_at_equal_size(share, seed):
    claimed, drops = drawn(3, 9, seed=seed), drawn(3, 9, seed=seed + 100)
    sizes = torch.randint(1, 9, (3, 9), generator=torch.Generator().manual_seed(seed)).double()
    found = metrics.removal_partial_correlation(claimed, drops, sizes)
    torch.testing.assert_close(metrics.removal_partial_correlation(claimed + share * sizes, drops, sizes), found)
    torch.testing.assert_close(metrics.removal_partial_correlation(claimed, drops + share * sizes, sizes), found)
    for counting in (sizes, 0.1 * sizes - 7):
        assert bool(metrics.removal_partial_correlation(counting, drops, sizes).isnan().all())
    alike = torch.full_like(sizes, 4)
    torch.testing.assert_close(
        metrics.removal_partial_correlation(claimed, drops, alike), metrics.removal_correlation(claimed, drops)
    )


def test_infidelity_is_the_least_squared_error_over_scales():
    claimed, drops = drawn(6, 10), drawn(6, 10, seed=1) + 0.5
    found = metrics.infidelity(claimed, drops)
    scales = np.linspace(0, 5, 50_001)
    for row in range(6):
        errors = (scales[:, None] * claimed[row].numpy() - drops[row].numpy()) ** 2
        least = errors.mean(axis=1).min() / np.square(drops[row].numpy()).mean()
        assert float(found[row]) == pytest.approx(least, abs=1e-6)


@every_figure
@given(st.floats(0.01, 100), st.integers(0, 99))
def test_neither_scale_of_the_map_nor_order_of_the_sets_matters(figure, scale, seed):
    claimed, drops = drawn(3, 8, seed=seed), drawn(3, 8, seed=seed + 100)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(figure(scale * claimed, drops), figure(claimed, drops))
    torch.testing.assert_close(figure(claimed[:, order], drops[:, order]), figure(claimed, drops))


@every_figure
def test_a_map_that_holds_the_drops_is_perfect_and_its_opposite_is_not(figure):
    drops = drawn(2, 9) + 1
    best, worst = (0.0, 1.0) if figure is metrics.infidelity else (1.0, -1.0)
    torch.testing.assert_close(figure(3 * drops, drops), torch.full((2,), best, dtype=torch.float64))
    torch.testing.assert_close(figure(-drops, drops), torch.full((2,), worst, dtype=torch.float64))


@pytest.mark.parametrize("figure", [metrics.removal_correlation, metrics.removal_rank_correlation])
def test_where_nothing_is_claimed_or_nothing_happens_there_is_no_correlation(figure):
    some = drawn(1, 7)
    for claimed, drops in ((torch.ones(1, 7), some), (some, torch.ones(1, 7)), (some * torch.nan, some)):
        assert bool(figure(claimed.double(), drops.double()).isnan().all())
    assert bool(figure(some[:, :2], some[:, :2]).isnan().all())


def test_infidelity_of_silence_is_undefined():
    some, none = drawn(1, 7), torch.zeros(1, 7).double()
    for claimed, drops in ((none, some), (some, none), (some * torch.nan, some)):
        assert bool(metrics.infidelity(claimed, drops).isnan())
