"""Average drop, increase in confidence, and masks, in plain loops."""

from math import nan, sqrt

from references.upsampling import Map


def average_drop(s: list[float], s_masked: list[float]) -> float:
    """FAM Eq. 21, over the queries with s > 0."""
    total, count = 0.0, 0
    for i in range(len(s)):
        if s[i] > 0:
            total += max(0.0, s[i] - s_masked[i]) / s[i] * 100
            count += 1
    return total / count if count else nan


def increase_in_confidence(s: list[float], s_masked: list[float]) -> float:
    """FAM Eq. 22."""
    total = 0.0
    for i in range(len(s)):
        total += 100.0 if s[i] < s_masked[i] else 0.0
    return total / len(s) if s else nan


def mask(L: Map) -> Map:
    """The map itself where it lies in [0, 1], otherwise its positive part over its maximum."""
    values = [v for row in L for v in row]
    if all(0 <= v <= 1 for v in values):
        return L
    top = max(values)
    return [[max(v, 0.0) / top if top > 0 else 0.0 for v in row] for row in L]


def mean_interval(values: list[float]) -> tuple[float, float, int]:
    """Mean, 1.96 standard deviations (ddof 0) over the root of the count, and the count; NaN left out."""
    known = [v for v in values if v == v]
    n = len(known)
    if n == 0:
        return nan, nan, 0
    mean = sum(known) / n
    variance = sum((v - mean) ** 2 for v in known) / n
    return mean, 1.96 * sqrt(variance) / sqrt(n), n
