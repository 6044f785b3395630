"""Horizontal bars that grow from a zero line: positive to the right, negative to the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Bar:
    """One labeled value; ``left`` and ``width`` are percentages of the track."""

    label: str
    text: str
    left: float
    width: float
    positive: bool
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bars:
    """Bars on one scale, and where their zero line stands, in percent of the track."""

    bars: tuple[Bar, ...]
    zero: float


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    marks: Sequence[tuple[str, ...]] | None = None,
    symmetric: bool = False,
) -> Bars:
    """Lay out one bar per value; a symmetric scale has its zero in the middle, others where the values leave it."""
    known = [value if isfinite(value) else 0.0 for value in values]
    low, high = min(0.0, *known), max(0.0, *known)
    if symmetric:
        low, high = min(low, -high), max(high, -low)
    span = high - low or 1.0
    zero = 100 * abs(low) / span
    drawn = [
        Bar(label, text, zero + 100 * min(value, 0.0) / span, 100 * abs(value) / span, value >= 0, mark)
        for label, value, text, mark in zip(labels, known, texts, marks or [()] * len(labels), strict=True)
    ]
    return Bars(tuple(drawn), zero)
