"""Whether an index that was found beside a bank is of its rows. It may come from anybody, as the bank itself."""

import numpy as np
import torch

from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Rows, similarities_to
from retrieval_explain.search.index import Index, automatic_settings, read_index, search

KINDS = {"hnsw": "IndexHNSWFlat", "ivf": "IndexIVFFlat", "ivf-pq": "IndexIVFPQ"}  # by FAISS's names
SAMPLED = 32
ENOUGH = 0.5  # of the sampled rows; an index that finds most neighbors finds the row itself
LARGEST = 1 << 16  # value of a setting, or twice the rows where they are more


def index_of_rows(
    data: bytes, kind: str, similarity: str | Similarity, settings: dict[str, int], rows: Rows, k: int
) -> Index | None:
    """Return the index that some bytes hold, or None where it is none of this kind over these rows.

    FAISS refuses most damaged bytes by an error. An index of other rows is known by what it misses: a few of the bank's
    rows are searched in it, and most of them must find a row that is as like as themselves.
    """
    expected = automatic_settings(kind, *rows.shape, k)
    largest = max(LARGEST, 2 * rows.shape[0])
    if settings.keys() != expected.keys() or not all(1 <= value <= largest for value in settings.values()):
        return None
    remaining = memoryview(data)

    def read(size: int) -> bytes:
        nonlocal remaining
        piece, remaining = remaining[:size], remaining[size:]
        return bytes(piece)

    try:
        index = read_index(kind, similarity, settings, read)
        fits = type(index.faiss_index).__name__ == KINDS[kind] and index.faiss_index.ntotal == rows.shape[0]
        return index if fits and _finds_its_rows(index, rows) else None
    except (RuntimeError, MemoryError, AssertionError, ValueError):  # FAISS's own, by its bindings
        return None


def _finds_its_rows(index: Index, rows: Rows) -> bool:
    """Search a few rows in an index; half of them must find one as like as the row itself."""
    count = rows.shape[0]
    chosen = torch.from_numpy(np.random.default_rng(count).choice(count, min(SAMPLED, count), replace=False))
    queries = rows.take(chosen)
    found = search(index, rows, queries, 1).similarities[:, 0]
    itself = similarities_to(queries, rows, chosen[:, None], index.similarity)[:, 0]
    return bool((found >= itself - 1e-9 * itself.abs()).double().mean() >= ENOUGH)
