"""Search by an index of FAISS that looks at a part of the rows, or exactly.

An index proposes rows; what is returned was compared again, in float64, with the stored embeddings. The exhaustive
search is ``exact_search``, because that of FAISS orders equal rows by float32's rounding and wants a normalized copy of
the rows for the cosine. Source of the indices: Douze et al., "The Faiss library", 2024. Besides this module only
``products`` and ``coarse_rows`` import FAISS.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import faiss as typed_faiss
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.similarities import Similarity, named_similarity, similarity_name, traits_of
from fsl_explain.turns import alone
from retrieval_explain.ranking.neighbors import ROWS_IN_A_BLOCK, Neighbors, Rows, blocks, nearest, similarities_to
from retrieval_explain.search.candidates import SPARE
from retrieval_explain.search.exact_search import exact_search, promising
from retrieval_explain.search.faiss_search import faiss_search
from retrieval_explain.search.index_limits import check_enough, check_float32
from retrieval_explain.search.searcher import Searcher
from retrieval_explain.search.sharded import ShardedRows

faiss: Any = typed_faiss  # its stubs know neither the search parameters nor the factory's results
FAISS_VERSION: str = faiss.__version__
DEVICES = ("auto", "cpu", "cuda")
WIDEST_ON_GPU = 2048  # neighbors, and lists looked into
QUERIES_TOGETHER = 1024
TRAINING_ROWS_A_LIST = 64
SEED = 1234


@dataclass(frozen=True)
class Index:
    """An index over a bank's rows, and how wide it searches.

    ``kind`` is flat, hnsw, ivf or ivf-pq, ``similarity`` what it serves, ``settings`` how it was made (links, lists, …)
    and how many paths or lists a search follows. ``faiss_index`` is None for flat, which is exhaustive; ``device`` is
    cpu or cuda, and ``on_gpu`` a copy there, for narrow searches.
    """

    kind: str
    similarity: str | Similarity
    settings: dict[str, int]
    faiss_index: Any = field(default=None, repr=False, compare=False)
    device: str = "cpu"
    on_gpu: Any = field(default=None, repr=False, compare=False)

    @property
    def is_exact(self) -> bool:
        """Whether every row is compared."""
        return self.kind == "flat"


def flat(similarity: str | Similarity) -> Index:
    """Return the exhaustive search, which needs no index and no second copy of the rows."""
    return Index("flat", similarity, {})


def build_index(rows: Rows, similarity: str | Similarity, kind: str, k: int) -> Index:
    """Train and fill an index whose settings follow from the number of rows and from k.

    ``hnsw`` links each row with 32 others and follows max(128, 2k) paths; ``ivf`` sorts the rows into 4√rows
    lists and looks into enough of them for k; ``ivf-pq`` also compresses each row to a byte per two channels and
    proposes four times as many candidates, which are compared again with what is stored. An index is one of the f of
    ``Traits``, whose inner products or distances are the similarities.

    Raises: ``ValueError`` for a similarity that is neither, too few rows to learn from, or numbers too large for FAISS.
    """
    if kind == "flat":
        return flat(similarity)
    count = rows.shape[0]
    check_enough(kind, count)
    channels = _prepared(rows.read(0, 1), similarity).shape[1]
    settings = automatic_settings(kind, count, channels, k)
    by_distance = traits_of(named_similarity(similarity)).distance_of is not None
    metric = faiss.METRIC_L2 if by_distance else faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        made = faiss.IndexHNSWFlat(channels, settings["links"], metric)
        made.hnsw.efConstruction = settings["construction"]
    else:
        # np: without the reordering of codes for Hamming distances, which takes nine seconds a byte and is not used
        storage = "Flat" if kind == "ivf" else f"PQ{settings['bytes']}x8np"
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


def widened(index: Index | Searcher) -> Index | Searcher | None:
    """Return the same index searched twice as widely, or None where it looks at everything already."""
    if not isinstance(index, Index):
        return index.widened()
    if index.is_exact:
        return None
    name = "paths" if index.kind == "hnsw" else "probed"
    limit = index.faiss_index.ntotal if index.kind == "hnsw" else index.settings["lists"]
    if index.settings[name] >= limit:
        return None
    settings = index.settings | {name: min(limit, 2 * index.settings[name])}
    if "factor" in settings:
        settings["factor"] = 2 * settings["factor"]
    return replace(index, settings=settings)


def placed(index: Index, device: str = "auto") -> Index:
    """Return the same index, to be searched on the first graphics processor.

    ``auto`` uses one where there is one that can hold the index, ``cpu`` none, ``cuda`` insists. Hierarchical graphs
    stay on the processor; so do searches wider than FAISS has kernels for.

    Raises: ``ValueError`` for ``cuda`` without a graphics processor, or with an index it has no kernels for.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    if device == "cpu" or (device == "auto" and not faiss.get_num_gpus()):
        return replace(index, device="cpu", on_gpu=None)
    if not faiss.get_num_gpus():
        raise Mistake("expected a graphics processor for the index, but FAISS finds none; use device cpu.")
    if index.kind in ("flat", "hnsw"):
        return replace(index, device="cuda" if index.is_exact else "cpu")
    options = faiss.GpuClonerOptions()
    options.useFloat16 = index.kind == "ivf-pq"
    try:
        return replace(
            index,
            device="cuda",
            on_gpu=faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index.faiss_index, options),
        )
    except RuntimeError as error:
        if device == "auto":
            return replace(index, device="cpu", on_gpu=None)
        raise Mistake(
            f"FAISS cannot place this {index.kind} index on the graphics processor; use device cpu."
        ) from error


def write_index(index: Index, write: Callable[[bytes], int]) -> None:
    """Hand what FAISS stores of an index to ``write``, piece by piece; the settings are not part of it."""
    faiss.write_index(index.faiss_index, faiss.PyCallbackIOWriter(write))


def read_index(
    kind: str, similarity: str | Similarity, settings: dict[str, int], read: Callable[[int], bytes]
) -> Index:
    """Return the index whose bytes ``read`` returns. They must be known to be whole: others can end the process."""
    return Index(kind, similarity, settings, faiss.read_index(faiss.PyCallbackIOReader(read)))


def search(
    index: Index | Searcher,
    rows: Rows,
    queries: Float[Tensor, "query channel"],
    k: int,
    allowed: Bool[Tensor, "row"] | None = None,
) -> Neighbors:
    """Return the k nearest rows of each query: exactly, or as far as the index finds them.

    Among ``allowed`` rows the search is always exact, for an index was verified without a filter.

    Raises: ``ValueError`` where fewer than k rows are allowed, or the index finds fewer.
    """
    if not isinstance(index, Index):
        return index.search(queries, k, allowed)
    if index.is_exact or allowed is not None:
        device = index.device if index.is_exact else "cpu"
        if isinstance(rows, ShardedRows):
            return rows.search(queries, index.similarity, k, allowed, device)
        return exact_search(rows, queries, index.similarity, k, allowed, device)
    wanted = min(rows.shape[0], max(k + SPARE, k * index.settings.get("factor", 1)))
    found = [_search(index, rows, part, k, wanted) for part in queries.split(QUERIES_TOGETHER)]
    return Neighbors(torch.cat([part.indices for part in found]), torch.cat([part.similarities for part in found]))


def _search(index: Index, rows: Rows, queries: Float[Tensor, "query channel"], k: int, wanted: int) -> Neighbors:
    prepared = _prepared(queries, index.similarity)
    if index.kind == "hnsw":
        options = faiss.SearchParametersHNSW(efSearch=max(index.settings["paths"], wanted))
    else:
        options = faiss.SearchParametersIVF(nprobe=index.settings["probed"])
    narrow = max(wanted, index.settings.get("probed", 0)) <= WIDEST_ON_GPU
    searched = index.on_gpu if index.on_gpu is not None and narrow else index.faiss_index
    with alone([] if searched is index.faiss_index else [searched]):  # on a graphics processor one search at a time
        candidates = torch.from_numpy(faiss_search(searched, prepared, wanted, options)[1])
    if wanted > 2 * k:
        candidates = promising(queries, rows, candidates, index.similarity, k)
    found = nearest(candidates, similarities_to(queries, rows, candidates, index.similarity), k)
    if bool((found.indices < 0).any()):
        raise Mistake(f"the {index.kind} index found fewer than {k} neighbors; lower k or use the exact search.")
    return found


def _prepared(vectors: Float[Tensor, "row channel"], similarity: str | Similarity) -> np.ndarray:
    """Return vectors as FAISS takes them: in float32, and those whose inner products or distances are the similarity.

    Raises: ``ValueError`` for a similarity that is neither, or vectors too large for float32.
    """
    transform = traits_of(named_similarity(similarity)).transform
    if transform is None:
        raise Mistake(
            "expected a similarity that is an inner product or a distance, for an index, but "
            f"{similarity_name(similarity) or type(similarity).__name__} does not say so; give it traits or search "
            "without an index."
        )
    prepared = np.ascontiguousarray(transform(vectors.float()).float().numpy())
    check_float32(prepared)
    return prepared


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
