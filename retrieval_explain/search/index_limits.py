"""What an index can be made of: enough rows to learn from, and numbers whose distances float32 holds."""

import numpy as np

from episodes.errors import Mistake

CODES = 256  # that ivf-pq learns for each of its bytes
LARGEST = float(np.finfo(np.float32).max) / 8  # squared length; a distance is that of a sum, at most four times it


def check_enough(kind: str, rows: int) -> None:
    """Refuse an index that learns more codes than there are rows. Raises: ``ValueError``."""
    if kind == "ivf-pq" and rows < CODES:
        raise Mistake(
            f"expected at least {CODES} images for an index ivf-pq, which learns {CODES} codes from them, "
            f"but the bank has {rows}; use ivf or hnsw, or search without an index."
        )


def check_float32(vectors: np.ndarray) -> None:
    """Refuse vectors of which float32 holds no distance: FAISS ends the process over them. Raises: ``ValueError``."""
    with np.errstate(over="ignore"):
        squared = np.einsum("rc,rc->r", vectors, vectors)
    wrong = ~(squared <= LARGEST)
    if wrong.any():
        raise Mistake(
            f"{int(wrong.sum())} of {len(vectors)} embeddings are so large that float32 holds no distance of theirs, "
            "and an index compares them; scale them down, or search without an index."
        )
