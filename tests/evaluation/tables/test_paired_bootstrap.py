"""Paired differences and the test behind bold type."""

import numpy as np
import pytest
from scipy import stats

from fsl_explain.evaluation.tables.paired_bootstrap import clearly_best, paired_difference

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=300)  # what makes an image easy for every method
OURS = IMAGES + 0.05 + 0.1 * RNG.normal(size=300)
THEIRS = IMAGES + 0.1 * RNG.normal(size=300)


def loop_interval(differences, resamples=3000, seed=7):
    rng = np.random.default_rng(seed)
    means = sorted(float(np.mean(rng.choice(differences, len(differences)))) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def test_the_interval_is_that_of_resampled_differences():
    found = paired_difference(OURS, THEIRS)
    low, high = loop_interval(OURS - THEIRS)
    assert found.mean == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.002)
    assert found.excludes_zero
    assert found.pairs == 300


def test_pairs_find_what_two_samples_do_not():
    assert paired_difference(OURS, THEIRS).excludes_zero
    assert stats.ttest_ind(OURS, THEIRS).pvalue > 0.2
    shuffled = RNG.permutation(THEIRS)
    assert not paired_difference(OURS, shuffled).excludes_zero


def test_it_changes_its_sign_with_the_sides_and_is_the_same_twice():
    there, back = paired_difference(OURS, THEIRS), paired_difference(THEIRS, OURS)
    assert back.mean == pytest.approx(-there.mean)
    assert back.excludes_zero
    assert there == paired_difference(OURS, THEIRS)


def test_only_units_that_both_have_are_compared():
    ours, theirs = OURS.copy(), THEIRS.copy()
    ours[:100], theirs[100:150] = np.nan, np.nan
    assert paired_difference(ours, theirs) == paired_difference(OURS[150:], THEIRS[150:])
    nothing = paired_difference(np.full(3, np.nan), np.ones(3))
    assert nothing.pairs == 0
    assert np.isnan(nothing.mean)
    assert not nothing.excludes_zero


def test_one_pair_proves_nothing():
    alone = paired_difference(np.array([2.0]), np.array([1.0]))
    assert (alone.mean, alone.pairs, alone.excludes_zero) == (1.0, 1, False)


def test_equal_differences_have_no_width():
    found = paired_difference(np.arange(25.0) + 1, np.arange(25.0))
    assert (found.low, found.high) == (1.0, 1.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = [
        (found := paired_difference(rng.normal(0.3, 1, 60), np.zeros(60))).low <= 0.3 <= found.high for _ in range(60)
    ]
    assert 0.85 <= np.mean(covered) <= 1.0


def test_the_best_must_beat_every_other_one():
    figures = {"ours": OURS, "theirs": THEIRS, "far": THEIRS - 1}
    assert clearly_best(figures, higher_is_better=True) == "ours"
    assert clearly_best(figures | {"twin": OURS + 1e-3 * RNG.normal(size=300)}, higher_is_better=True) is None
    assert clearly_best(figures, higher_is_better=False) == "far"
    assert clearly_best({"alone": OURS}, higher_is_better=True) is None
    assert clearly_best({"ours": OURS, "none": np.full(300, np.nan)}, higher_is_better=True) is None


def test_the_best_is_found_on_shared_units_alone():
    """A method that has no figure where images are hard has the largest mean and beats nobody."""
    hard, shy = IMAGES - 5 * (np.arange(300) < 240), THEIRS.copy()
    shy[:240] = np.nan
    figures = {"shy": shy, "theirs": hard - 0.5, "ours": hard + 0.5}
    assert max(figures, key=lambda name: np.nanmean(figures[name])) == "shy"
    assert clearly_best(figures, higher_is_better=True) == "ours"
    assert clearly_best({name: -values for name, values in figures.items()}, higher_is_better=False) == "ours"
    shy[240:] += 2
    assert clearly_best(figures, higher_is_better=True) == "shy"
    shy[240:] = np.nan
    shy[:20] = 9.0
    assert clearly_best(figures | {"ours": np.where(np.arange(300) < 20, np.nan, hard + 9)}, True) is None


def test_a_few_pairs_prove_nothing():
    few = {"ours": np.linspace(0.6, 0.7, 19), "theirs": np.linspace(0.1, 0.2, 19)}
    found = paired_difference(few["ours"], few["theirs"])
    assert (found.low, found.high, found.pairs) == (-np.inf, np.inf, 19)
    assert clearly_best(few, higher_is_better=True) is None
    more = {name: np.append(values, values[-1]) for name, values in few.items()}
    assert clearly_best(more, higher_is_better=True) == "ours"


def test_many_rivals_ask_for_more():
    """A lead that one comparison would grant is not granted among sixty."""
    rng = np.random.default_rng(3)
    base, noise = rng.normal(size=(2, 100))
    ours = base + 0.055 + 0.23 * (noise - noise.mean()) / noise.std()  # 2.4 standard errors
    assert clearly_best({"ours": ours, "rival 0": base}, higher_is_better=True) == "ours"
    rivals = {f"rival {i}": base for i in range(60)}
    assert clearly_best({"ours": ours} | rivals, higher_is_better=True) is None
