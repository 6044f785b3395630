"""Search by the index of a Milvus server: it proposes rows, and what is returned was compared again here in float64.

An exhaustive index compares in float32, so that the rows at the k-th place may be others than the nearest. Its result
stands where the k-th similarity is above the server's last one by more than float32 rounds; else more are asked for,
and in the end every row is compared here.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.similarities import Similarity, similarity_name
from retrieval_explain.milvus.collection import MOST, STRONG
from retrieval_explain.milvus.entities import KEY, compared_by
from retrieval_explain.milvus.held import MilvusRows
from retrieval_explain.milvus.record import Measured
from retrieval_explain.ranking.neighbors import Neighbors, nearest, similarities_to
from retrieval_explain.search.candidates import SPARE
from retrieval_explain.search.exact_search import exact_search
from retrieval_explain.search.index import automatic_settings
from retrieval_explain.search.index_limits import check_enough
from retrieval_explain.search.products import rounding
from retrieval_explain.search.recall import Verified, verify

TYPES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT", "ivf-pq": "IVF_PQ"}
"""Names of this software and of the server."""
QUERIES_TOGETHER = 8  # a server may hold the difference of each to every row at once
OTHERS = 16  # entities that are no rows, which a search may meet
FEW = 1000  # rows left out that a search without a condition may as well meet
NO_KEY = -(2**62)  # which no entity has
KEYS_IN_A_CONDITION = 20_000


@dataclass(frozen=True)
class ServerIndex:
    """The index of a bank's collection, and how wide it is searched."""

    kind: str
    similarity: str
    settings: dict[str, int]
    rows: MilvusRows = field(repr=False, compare=False)

    @property
    def is_exact(self) -> bool:
        """It is measured, as what runs elsewhere is."""
        return False

    @property
    def is_exhaustive(self) -> bool:
        """Whether the server says that it compares every row."""
        return self.kind == "flat"

    def widened(self) -> "ServerIndex | None":
        """Return the same index searched twice as widely, or None where it looks at everything already."""
        name, limit = {"hnsw": ("paths", self.rows.shape[0])}.get(self.kind, ("probed", self.settings.get("lists", 0)))
        if self.is_exhaustive or self.settings[name] >= limit:
            return None
        return replace(self, settings=self.settings | {name: min(limit, 2 * self.settings[name])})

    def search(
        self, queries: Float[Tensor, "query channel"], k: int, allowed: Bool[Tensor, "row"] | None = None
    ) -> Neighbors:
        """Return the k nearest rows of each query.

        Among ``allowed`` rows the result is exact: by a condition that an exhaustive index takes, or here.

        Raises: ``BlockingIOError`` where another process has changed the bank, ``ValueError`` where fewer are found.
        """
        held = self.rows.held
        if held.collection.commits() != held.record.since:
            raise held.collection.changed()
        if allowed is not None and not self.is_exhaustive:
            return exact_search(self.rows, queries, self.similarity, k, allowed)
        found = [self._search(part, k, allowed) for part in queries.split(QUERIES_TOGETHER) if len(part)]
        empty = torch.empty(0, k)
        return Neighbors(
            torch.cat([part.indices for part in found] or [empty.long()]),
            torch.cat([part.similarities for part in found] or [empty.double()]),
        )

    def _search(self, queries: Tensor, k: int, allowed: Bool[Tensor, "row"] | None) -> Neighbors:
        indices = torch.full((len(queries), k), -1)
        similarities = torch.empty(len(queries), k, dtype=torch.float64)
        left, condition, there_are = torch.arange(len(queries)), "", self.rows.shape[0]
        wanted, most = k + SPARE + OTHERS, min(MOST, 2 * (self.rows.shape[0] + OTHERS))
        if allowed is not None:
            condition, there_are = self._condition(allowed), int(allowed.sum())
            wanted += 0 if condition else self.rows.shape[0] - there_are
        while len(left):
            wanted = min(wanted, most)
            found, is_sure = self._proposed(queries[left], k, wanted, allowed, condition, there_are)
            done = left[is_sure]
            indices[done], similarities[done] = found.indices[is_sure], found.similarities[is_sure]
            left = left[~is_sure]
            if len(left) and wanted == most:
                rest = self._rest(queries[left], k, allowed)
                indices[left], similarities[left] = rest.indices, rest.similarities
                break
            wanted *= 2
        return Neighbors(indices, similarities)

    def _rest(self, queries: Tensor, k: int, allowed: Bool[Tensor, "row"] | None) -> Neighbors:
        if self.is_exhaustive:
            return exact_search(self.rows, queries, self.similarity, k, allowed)
        raise Mistake(f"the {self.kind} index found fewer than {k} neighbors; lower k or use the index flat.")

    def _proposed(
        self,
        queries: Tensor,
        k: int,
        wanted: int,
        allowed: Bool[Tensor, "row"] | None,
        condition: str,
        there_are: int,
    ) -> tuple[Neighbors, Bool[Tensor, "query"]]:
        """Return the best of the server's candidates, and for which queries no other row can be among the k nearest."""
        compared = compared_by(self.similarity)
        asked = compared.of(queries.float().numpy())
        keys, last = self._candidates(asked, wanted, condition)
        rows = torch.from_numpy(self.rows.rows_of(keys))
        if allowed is not None:
            rows = rows.where(allowed[rows.clamp(min=0)], -1)
        found = nearest(rows, similarities_to(queries, self.rows, rows, self.similarity), k)
        counts = (rows >= 0).sum(dim=1)
        enough = counts >= k
        if self.is_exhaustive:
            above = found.similarities[:, -1] - torch.from_numpy(self._rounding(asked))
            enough &= (above > torch.from_numpy(last)) | (counts >= there_are)
        return found, enough

    def _candidates(
        self, asked: np.ndarray, wanted: int, condition: str
    ) -> tuple[Int[np.ndarray, "query candidate"], Float[np.ndarray, "query"]]:
        """Return the keys that the server proposes, and the least similarity that it tells of each query's."""
        compared = compared_by(self.similarity)
        widths = {"nprobe": self.settings["probed"]} if "probed" in self.settings else {}
        if self.kind == "hnsw":
            widths = {"ef": max(self.settings["paths"], wanted)}
        found = self.rows.held.collection.call(
            "search",
            data=list(asked),
            anns_field=compared.field,
            limit=wanted,
            filter=condition,
            output_fields=[KEY],
            search_params={"metric_type": compared.metric, "params": widths},
            **STRONG,
        )
        keys = np.full((len(asked), wanted), NO_KEY, np.int64)
        last = np.full(len(asked), np.inf)
        for query, hits in enumerate(found):
            keys[query, : len(hits)] = [hit[KEY] for hit in hits]
            last[query] = min((compared.as_similarity * hit["distance"] for hit in hits), default=np.inf)
        return keys, last

    def _rounding(self, asked: np.ndarray) -> Float[np.ndarray, "query"]:
        """Return by how much the server's similarity of each query to any row may be off; see ``exact_search``."""
        unit = rounding(asked.shape[1])
        lengths = np.linalg.norm(asked.astype(np.float64), axis=1)
        metric, largest = compared_by(self.similarity).metric, self.rows.held.record.largest
        if metric == "COSINE":
            return np.full(len(asked), 4 * unit)
        made: Float[np.ndarray, "query"] = unit * (lengths * largest if metric == "IP" else (lengths + largest) ** 2)
        return 2 * made

    def _condition(self, allowed: Bool[Tensor, "row"]) -> str:
        """Return allowed rows as a condition on keys; "" where they are better told apart here."""
        inside = allowed.numpy()
        out = int((~inside).sum())
        if out <= FEW or min(out, len(inside) - out) > KEYS_IN_A_CONDITION:
            return ""
        if out < len(inside) - out:
            return f"{KEY} not in {self.rows.held.keys[~inside].tolist()}"
        return f"{KEY} in {self.rows.held.keys[inside].tolist()}"


def indexed(rows: MilvusRows, similarity: str | Similarity, kind: str | None, k: int, recall: float) -> Verified | None:
    """Return the server's index, of a kind where one is asked for, with its recall at k for the rows as they are.

    What was measured is kept on the server until the rows change. None for another similarity than the bank was
    built with, where no kind is asked for: then every row is read and compared here.

    Raises: ``ValueError`` for such a similarity, too few rows, or an index that the server does not have.
    """
    held, name = rows.held, similarity_name(similarity)
    made = held.record.made
    if name != made.similarity:
        if kind is None:
            return None
        raise Mistake(
            f"the index of the bank {held.collection.server.address} is one of {made.similarity}, but "
            f"{name or type(similarity).__name__} is asked for; search without an index."
        )
    there = _kind_there(rows)
    if kind is not None and kind != there:
        _build(rows, kind, k)
    kind = there if kind is None else kind
    kept = held.collection.measured(kind, k, held.record.since)
    if kept is not None and (kept.asked == recall or kept.recall >= recall):
        return Verified(ServerIndex(kind, made.similarity, kept.settings, rows), kept.recall, k, kept.queries, recall)
    found = verify(ServerIndex(kind, made.similarity, _settings(rows, kind, k), rows), rows, k, recall)
    told = Measured(
        kind=kind, settings=found.index.settings, recall=found.recall, k=k, queries=found.queries, asked=float(recall)
    )
    held.collection.note(told, held.record.since, made)
    return found


def _settings(rows: MilvusRows, kind: str, k: int) -> dict[str, int]:
    wide = compared_by(rows.held.record.made.similarity).of(np.ones((1, rows.shape[1]), np.float32)).shape[1]
    return {} if kind == "flat" else automatic_settings(kind, rows.shape[0], wide, k)


def _kind_there(rows: MilvusRows) -> str:
    """Return the kind of the server's index; where a stopped process left none, an exhaustive one is put first."""
    if _kind_told(rows) is None:
        _put(rows, TYPES["flat"], {})
    told, named = _kind_told(rows), {server: own for own, server in TYPES.items()}
    if told not in named:
        raise rows.held.damaged(f"its index is {told}, which this software did not make")
    return named[told]


def _kind_told(rows: MilvusRows) -> str | None:
    """Return what the server calls the kind of its index; None where it has none."""
    name, collection = compared_by(rows.held.record.made.similarity).field, rows.held.collection
    if name not in collection.call("list_indexes"):
        return None
    return str(collection.call("describe_index", index_name=name)["index_type"])


def _build(rows: MilvusRows, kind: str, k: int) -> None:
    """Put an index of another kind in the place of the server's; a search has to wait for it."""
    check_enough(kind, rows.shape[0])
    settings = _settings(rows, kind, k)
    names = {"links": "M", "construction": "efConstruction", "lists": "nlist", "bytes": "m"}
    options = {server: settings[own] for own, server in names.items() if own in settings}
    if kind == "ivf-pq":
        options["nbits"] = 8
    try:
        _put(rows, TYPES[kind], options)
    except Mistake:
        _put(rows, TYPES["flat"], {})
        raise


def _put(rows: MilvusRows, index_type: str, options: dict[str, int]) -> None:
    collection, compared = rows.held.collection, compared_by(rows.held.record.made.similarity)
    told = {"index_type": index_type, "metric_type": compared.metric, "params": options}
    indices = collection.server.pymilvus.MilvusClient.prepare_index_params()
    indices.add_index(compared.field, index_name=compared.field, **told)
    collection.call("release_collection")
    collection.once("drop_index", lambda: _kind_told(rows) is None, index_name=compared.field)
    collection.call("create_index", index_params=indices)
    collection.call("load_collection")
