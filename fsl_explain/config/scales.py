"""Scales as commands and names write them: ``224,448``, or with weights ``224:1,448:3``."""

from math import isfinite

from episodes.errors import Mistake


def scales_from_text(text: str) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Return the sides that a text names, and their weights where it gives some.

    Raises: ``ValueError`` for anything else.
    """
    parts = [part.strip().partition(":") for part in text.split(",")]
    try:
        sides = tuple(int(side) for side, _, _ in parts)
        weights = tuple(float(weight) for _, colon, weight in parts if colon)
    except ValueError:
        raise _expected(text) from None
    if min(sides) < 1 or len(set(sides)) < len(sides) or not all(isfinite(one) and one > 0 for one in weights):
        raise _expected(text)
    if len(weights) not in (0, len(sides)):
        raise Mistake(
            f"expected a weight for each scale or for none, but got {text!r}; write 224:1,448:3, for example."
        )
    return sides, weights or None


def sides_from_text(text: str) -> tuple[int, ...]:
    """Return the sides at which supports are seen, as a text names them. Raises: ``ValueError`` for anything else."""
    try:
        sides = tuple(int(side) for side in text.split(","))
    except ValueError:
        sides = ()
    if not sides or min(sides) < 1:
        raise Mistake(
            f"expected a side in pixels, such as 224, or one for each scale, such as 224,448, but got {text!r}."
        )
    return sides


def _expected(text: str) -> Mistake:
    return Mistake(
        f"expected different scales in pixels, such as 224,448, or 224:1,448:3 with positive weights, but got {text!r}."
    )
