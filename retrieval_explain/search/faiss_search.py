"""Ask an index of FAISS, whatever else this process has imported."""

from typing import Any

import numpy as np


def faiss_search(index: Any, queries: np.ndarray, k: int, options: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return what FAISS says of the k best rows of each query, and their numbers, -1 where there are fewer.

    ``faiss.contrib.torch_utils``, which some libraries import, puts a search that takes tensors and no options in the
    place of every index's own, and keeps that one as ``search_numpy``.
    """
    told, rows = getattr(index, "search_numpy", index.search)(queries, k, params=options)
    return told, rows
