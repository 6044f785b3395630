"""A seed of its own for everything that is drawn: the user's seed is also that of the weights and of other noise."""

import hashlib


def derived_seed(purpose: str, *numbers: int | float) -> int:
    """Return a seed that is another one wherever the purpose or a number is: 64 bits of their SHA-256."""
    text = "/".join((purpose, *map(str, numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
