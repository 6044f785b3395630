"""Numbers as a page shows them."""

from collections.abc import Sequence
from math import floor, isfinite, isnan, log10


def decimals(values: Sequence[float], significant: int) -> int:
    """Return the decimal places that give the largest value its significant digits, between 0 and 12."""
    largest = max((abs(value) for value in values if isfinite(value)), default=0.0)
    return min(max(0, significant - 1 - floor(log10(largest))), 12) if largest > 0 else significant - 1


def fixed(value: float, places: int, plus: bool = False) -> str:
    """Write a value with fixed decimal places and a true minus sign; NaN is a dash."""
    if not isfinite(value):
        return "–" if isnan(value) else str(value).replace("-", "−")
    written = f"{value:{'+' if plus else ''}.{places}f}"
    is_zero = not any(digit in "123456789" for digit in written)
    return written.lstrip("+-") if is_zero else written.replace("-", "−")


def scientific(value: float) -> str:
    """Write a value as 1.2e−08."""
    return f"{value:.1e}".replace("-", "−")


def figure(value: float) -> str:
    """Write a metric's value with about three significant digits; NaN is a dash."""
    return fixed(value, 1 if abs(value) >= 10 else 3)
