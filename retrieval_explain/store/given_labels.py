"""Labels as users have them: names or whole numbers in a list, an array or a tensor."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from episodes.errors import Mistake, WrongType

SMALLEST, LARGEST = -(2**63), 2**63 - 1


def as_labels(labels: object) -> list[Any]:
    """Return labels as a list of names, or of whole numbers; None where an image has none.

    Raises: ``ValueError`` for names mixed with numbers, or anything else in their place; nothing is rounded.
    """
    given = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise WrongType(
            f"expected labels as a list of names or numbers, one for each image, but got {labels!r:.80}; give a list."
        )
    found = [label.item() if isinstance(label, np.generic | Tensor) else label for label in given]
    found = [int(label) if isinstance(label, float) and label.is_integer() else label for label in found]
    for label in found:
        is_number = isinstance(label, int) and not isinstance(label, bool) and SMALLEST <= label <= LARGEST
        if not (label is None or isinstance(label, str) or is_number):
            raise Mistake(
                f"expected labels that are names, or whole numbers of 64 bits, but got {label!r:.80}; "
                "give the names as texts, or the numbers as int."
            )
    if any(isinstance(label, str) for label in found):
        stranger = next((label for label in found if isinstance(label, int)), None)
        if stranger is not None:
            raise Mistake(f"expected labels that are all names or all numbers, but got names and {stranger!r}.")
    return found
