"""Whether one method beats another on the same images or episodes: a paired bootstrap.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 9999
SEED = 0
RESAMPLED_VALUES = 2**24  # at a time
CONFIDENCE = 0.95
FEWEST_PAIRS = 20
"""Percentile intervals of fewer pairs are too narrow: of five, one in six misses the truth instead of one in twenty."""


class PairedDifference(NamedTuple):
    """The mean of paired differences, its confidence interval, and how many pairs there are."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    ours: Float[np.ndarray, "unit"], theirs: Float[np.ndarray, "unit"], confidence: float = CONFIDENCE
) -> PairedDifference:
    """Return ours minus theirs, unit by unit, with a percentile interval over 9,999 resamples of the units.

    Units, such as images or episodes, where either figure is NaN are left out; without any pair all is NaN. Of fewer
    than 20 pairs the interval is unbounded. Two calls with the same figures give the same interval.
    """
    differences = (ours - theirs)[~(np.isnan(ours) | np.isnan(theirs))]
    if not len(differences):
        return PairedDifference(np.nan, np.nan, np.nan, 0)
    mean = float(differences.mean())
    if len(differences) < FEWEST_PAIRS:
        return PairedDifference(mean, -np.inf, np.inf, len(differences))
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, RESAMPLED_VALUES // len(differences)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return PairedDifference(mean, float(interval.low), float(interval.high), len(differences))


def clearly_best(figures: Mapping[str, Float[np.ndarray, "unit"]], higher_is_better: bool) -> str | None:
    """Return the method that beats every other one, each on the units that both have; None where no method does.

    Each of its differences excludes zero at a level that holds for all of them together (Bonferroni). Means over units
    that others lack choose nothing, and of two methods one at most leads on those that they share.
    """
    sign = 1.0 if higher_is_better else -1.0
    known = {name: sign * values for name, values in figures.items() if not np.isnan(values).all()}
    if len(known) < 2:
        return None
    level = 1 - (1 - CONFIDENCE) / (len(known) - 1)
    for name, ours in known.items():
        rivals = [theirs for other, theirs in known.items() if other != name]
        if all(np.nansum(ours - theirs) > 0 for theirs in rivals):
            return name if all(paired_difference(ours, theirs, level).low > 0 for theirs in rivals) else None
    return None
