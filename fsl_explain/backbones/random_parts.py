"""Which parts of an encoder nobody has trained, and the sentence that says so wherever its figures stand."""

from collections.abc import Sequence


def random_words(parts: Sequence[str]) -> str:
    """Return one sentence about the parts that have random weights; empty where there are none."""
    if not parts:
        return ""
    has = "has" if len(parts) == 1 else "have"
    named = " and the ".join(parts)
    return f"The {named} {has} random weights: nothing was learned, and all that is shown is of an untrained encoder."
