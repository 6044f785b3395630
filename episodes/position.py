"""Positions: whole numbers of any integer type, and no fraction, text or slice in their place."""

import operator
from typing import Any

from episodes.errors import WrongType


def position(given: Any, expected: str) -> int:
    """Return a position as a plain ``int``; ``expected`` says in words what should have been given.

    Raises: ``TypeError`` for a fraction, a text, a slice or anything else that is no whole number.
    """
    try:
        return operator.index(given)
    except (TypeError, ValueError):
        raise WrongType(f"expected {expected}, but got {given!r:.80}.") from None
