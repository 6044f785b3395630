"""Candidates by FAISS: exhaustive, or by an index that looks at a part of the rows.

An index proposes rows; what is returned was compared again, in float64, with the stored embeddings. Source of the
indices: Douze et al., "The Faiss library", 2024. This is the only module that imports FAISS.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import faiss as typed_faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from retrieval_explain.neighbors import ROWS_IN_A_BLOCK, Neighbors, Rows, blocks, nearest, scan, similarities_to

faiss: Any = typed_faiss  # its stubs know neither the search parameters nor the factory's results
KINDS = ("flat", "hnsw", "ivf", "ivf-pq")
CANDIDATE_VALUES = 2**25  # of the candidates compared again at a time
SPARE = 16  # candidates beyond k, so that float32's rounding at the k-th place changes nothing
ROUNDING = 1e-5  # of float32 similarities, relative to the largest
TRAINING_ROWS_A_LIST = 64
SEED = 1234


@dataclass(frozen=True)
class Index:
    """An index over a bank's rows, and how wide it searches."""

    kind: str
    similarity: str
    settings: dict[str, int]
    faiss_index: Any = field(default=None, repr=False, compare=False)  # None: exhaustive, nothing is built

    @property
    def is_exact(self) -> bool:
        """Whether every row is compared."""
        return self.kind == "flat"


def flat(similarity: str) -> Index:
    """Return the exhaustive search, which needs no index and no second copy of the rows."""
    return Index("flat", similarity, {})


def build_index(rows: Rows, similarity: str, kind: str, k: int) -> Index:
    """Train and fill an index whose settings follow from the number of rows and from k.

    ``hnsw`` links each row with 32 others and follows max(128, 2k) paths; ``ivf`` sorts the rows into 4√rows
    lists and looks into enough of them for k; ``ivf-pq`` also compresses each row to a byte per two channels and
    proposes four times as many candidates, which are compared again with what is stored.
    """
    count, channels = rows.shape
    if kind == "flat":
        return flat(similarity)
    settings = automatic_settings(kind, count, channels, k)
    metric = faiss.METRIC_L2 if similarity == "euclidean" else faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        made = faiss.IndexHNSWFlat(channels, settings["links"], metric)
        made.hnsw.efConstruction = settings["construction"]
    else:
        storage = "Flat" if kind == "ivf" else f"PQ{settings['bytes']}x8"
        made = faiss.index_factory(channels, f"IVF{settings['lists']},{storage}", metric)
        made.cp.seed = SEED
        made.train(_prepared(_sample(rows, settings["lists"] * TRAINING_ROWS_A_LIST), similarity))
    for _, block in blocks(rows):
        made.add(_prepared(block, similarity))
    return Index(kind, similarity, settings, made)


def automatic_settings(kind: str, rows: int, channels: int, k: int) -> dict[str, int]:
    """Choose the settings of an index; defaults of FAISS are made for k of 10, and lose most of 200 neighbors."""
    if kind == "hnsw":
        return {"links": 32, "construction": 200, "paths": max(128, 2 * k)}
    lists = max(1, min(round(4 * math.sqrt(rows)), rows // 39))
    probed = max(8, math.ceil(lists * min(1.0, max(0.02, 4 * k / rows))))
    settings = {"lists": lists, "probed": min(lists, probed)}
    if kind == "ivf-pq":
        settings |= {"bytes": _divisor(channels, channels // 2), "factor": 4}
    return settings


def widened(index: Index) -> Index | None:
    """Return the same index searched twice as widely, or None where it looks at everything already."""
    if index.is_exact:
        return None
    name = "paths" if index.kind == "hnsw" else "probed"
    limit = index.faiss_index.ntotal if index.kind == "hnsw" else index.settings["lists"]
    if index.settings[name] >= limit:
        return None
    settings = index.settings | {name: min(limit, 2 * index.settings[name])}
    if "factor" in settings:
        settings["factor"] = 2 * settings["factor"]
    return Index(index.kind, index.similarity, settings, index.faiss_index)


def search(index: Index, rows: Rows, queries: Float[Tensor, "query channel"], k: int) -> Neighbors:
    """Return the k nearest rows of each query: exactly, or as far as the index finds them.

    Raises: ``ValueError`` where an index finds fewer than k rows.
    """
    wanted = min(rows.shape[0], max(k + SPARE, k * index.settings.get("factor", 1)))
    together = max(1, CANDIDATE_VALUES // (wanted * rows.shape[1]))
    found = [_search(index, rows, part, k, wanted) for part in queries.split(together)]
    return Neighbors(torch.cat([part.indices for part in found]), torch.cat([part.similarities for part in found]))


def _search(index: Index, rows: Rows, queries: Float[Tensor, "query channel"], k: int, wanted: int) -> Neighbors:
    prepared = _prepared(queries, index.similarity)
    if index.is_exact:
        proposed, rough = _exhaustive(rows, prepared, wanted, index.similarity)
    else:
        rough, proposed = _through(index, prepared, wanted)
    candidates = torch.from_numpy(proposed)
    found = nearest(candidates, similarities_to(queries, rows, candidates, index.similarity), k)
    if bool((found.indices < 0).any()):
        raise ValueError(f"the {index.kind} index found fewer than {k} neighbors; lower k or use the exact search.")
    if index.is_exact and wanted < rows.shape[0]:
        return _settled(found, torch.from_numpy(rough), rows, queries, index.similarity)
    return found


def _settled(found: Neighbors, rough: Tensor, rows: Rows, queries: Tensor, similarity: str) -> Neighbors:
    """Compare with every row those queries whose k-th place may be tied with a row that was not proposed."""
    last = rough[:, -1].double() * (-1 if similarity == "euclidean" else 1)
    kth, size = found.similarities[:, -1], rough.abs().amax(dim=-1).double().clamp(min=1e-30)
    if similarity == "euclidean":  # FAISS expands the square, and errs relative to the norms
        size = size + queries.double().square().sum(dim=-1)
    open_ones = (last >= kth - ROUNDING * size).nonzero().squeeze(1)
    if not len(open_ones):
        return found
    indices, similarities = found.indices.clone(), found.similarities.clone()
    exact = scan(queries[open_ones], rows, similarity, indices.shape[1])
    indices[open_ones], similarities[open_ones] = exact.indices, exact.similarities
    return Neighbors(indices, similarities)


def _exhaustive(rows: Rows, queries: np.ndarray, wanted: int, similarity: str) -> tuple[np.ndarray, np.ndarray]:
    metric = faiss.METRIC_L2 if similarity == "euclidean" else faiss.METRIC_INNER_PRODUCT
    indices = np.empty((len(queries), 0), dtype=np.int64)
    values = np.empty((len(queries), 0), dtype=np.float32)
    for start, block in blocks(rows):
        found, places = faiss.knn(queries, _prepared(block, similarity), min(wanted, len(block)), metric)
        indices = np.concatenate([indices, places + start], axis=1)
        values = np.concatenate([values, found], axis=1)
        order = np.argsort(values if metric == faiss.METRIC_L2 else -values, axis=1, kind="stable")[:, :wanted]
        indices, values = np.take_along_axis(indices, order, axis=1), np.take_along_axis(values, order, axis=1)
    return indices, values


def _through(index: Index, queries: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    if index.kind == "hnsw":
        options = faiss.SearchParametersHNSW(efSearch=max(index.settings["paths"], wanted))
    else:
        options = faiss.SearchParametersIVF(nprobe=index.settings["probed"])
    rough, proposed = index.faiss_index.search(queries, wanted, params=options)
    return rough, proposed


def _prepared(vectors: Float[Tensor, "row channel"], similarity: str) -> np.ndarray:
    """Return vectors as FAISS takes them: float32, of norm 1 for the cosine."""
    values = vectors.float()
    return np.ascontiguousarray((F.normalize(values, dim=-1) if similarity == "cosine" else values).numpy())


def _sample(rows: Rows, wanted: int) -> Float[Tensor, "row channel"]:
    """Return rows for training, drawn without replacement with a fixed seed; all where there are no more."""
    count = rows.shape[0]
    if count <= wanted:
        return torch.cat([block for _, block in blocks(rows)])
    chosen = np.sort(np.random.default_rng(SEED).choice(count, wanted, replace=False))
    parts = np.split(chosen, np.searchsorted(chosen, range(ROWS_IN_A_BLOCK, count, ROWS_IN_A_BLOCK)))
    return torch.cat([rows.take(_as_tensor(part)) for part in parts if len(part)])


def _as_tensor(indices: np.ndarray) -> Int[Tensor, "index"]:
    return torch.from_numpy(indices)


def _divisor(channels: int, most: int) -> int:
    """Return the largest divisor of the channels up to a number."""
    return next(n for n in range(max(1, most), 0, -1) if channels % n == 0)
