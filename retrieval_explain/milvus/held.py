"""The rows of a bank on a Milvus server: what is known of them is read at once, embeddings when they are asked for."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.similarities import Similarity
from retrieval_explain.milvus.collection import Collection
from retrieval_explain.milvus.entities import DIGEST, KEY, MODULUS, ROW, SINCE, TOMBSTONE, described_rows, digest_of
from retrieval_explain.milvus.record import Record
from retrieval_explain.store.bank_rows import SCHEMA
from retrieval_explain.store.entries import EntriesInMemory, entries_in_memory, with_contents

if TYPE_CHECKING:
    from retrieval_explain.search.recall import Verified

KEPT_BYTES = 1 << 30  # of embeddings that are kept in memory once they were read
REPAIR = "build the bank again"


class Held:
    """One commit of a bank: keys, places, digests and texts of its rows, in their order.

    Raises: ``ValueError`` where the collection holds other rows than its record says: none is left out in silence.
    """

    def __init__(self, collection: Collection, record: Record) -> None:
        self.collection: Collection = collection
        self.record: Record = record
        skipped = set(record.skipped)
        entities = [one for page in collection.pages(record.next) for one in page]
        committed = [one for one in entities if one[SINCE] <= record.since and one[SINCE] not in skipped]
        buried = {one["id"] for one in committed if one[ROW] == TOMBSTONE}
        found = (one for one in committed if one[ROW] >= 0 and one[KEY] not in buried)
        rows = sorted(found, key=lambda one: int(one[ROW]))
        self.keys: Int64[np.ndarray, "row"] = np.array([one[KEY] for one in rows], np.int64)
        self.places: Int64[np.ndarray, "row"] = np.array([one[ROW] for one in rows], np.int64)
        self.digests: Int64[np.ndarray, "row"] = np.array([one[DIGEST] for one in rows], np.int64)
        self.table: pa.Table = described_rows(rows)
        if len(rows) != record.rows or sum(self.digests.tolist()) % MODULUS != record.digest:
            raise self.damaged(f"it holds {len(rows)} rows, or others than those that were written")

    def damaged(self, what: str) -> Mistake:
        """Return the error about a collection that is not what its record says."""
        place = self.collection.server.address
        return Mistake(f"expected {self.record.rows} rows in the bank {place}, but {what}; {REPAIR}.")


def entries_of(table: pa.Table, numbered: bool) -> EntriesInMemory:
    """Return what is known of rows, whose labels are names or numbers."""
    labels = table["label"].to_pylist()
    told = [None if label is None else int(label) for label in labels] if numbered else labels
    known = entries_in_memory(len(table), told, table["path"].to_pylist(), table["id"].to_pylist())
    contents = [content or "" for content in table["content"].to_pylist()]
    return with_contents(known, contents if any(contents) else ())


class MilvusRows:
    """Embeddings on a server, read in pieces and checked against the digests of their rows.

    Those that were read are kept in memory while all would take at most a gigabyte.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        rows, channels = self.shape
        keeps = 4 * rows * channels <= KEPT_BYTES
        self._kept = np.empty((rows, channels), np.float32) if keeps else None
        self._is_kept: Bool[np.ndarray, "row"] = np.zeros(rows, dtype=bool)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return len(self.held.keys), self.held.record.made.channels

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return consecutive rows."""
        return self.take(torch.arange(start, stop))

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        wanted = indices.flatten().numpy()
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self.shape[0]):
            raise Mistake(f"expected rows from 0 to {self.shape[0] - 1}, but got {wanted.min()} to {wanted.max()}.")
        if self._kept is None:
            rows, places = np.unique(wanted, return_inverse=True)
            taken = self._checked(rows)[places]
        else:
            missing = np.unique(wanted[~self._is_kept[wanted]])
            if len(missing):
                self._kept[missing] = self._checked(missing)
                self._is_kept[missing] = True
            taken = self._kept[wanted]
        return torch.from_numpy(taken).reshape(*indices.shape, self.shape[1])

    def _checked(self, rows: Int64[np.ndarray, "row"]) -> Float32[np.ndarray, "row channel"]:
        """Return the embeddings of some rows, each compared with its digest."""
        held = self.held
        found = held.collection.embeddings(held.keys[rows], self.shape[1])
        known = held.table.select(SCHEMA.names).take(pa.array(rows)).to_pylist()
        for number, (row, one) in enumerate(zip(rows.tolist(), known, strict=True)):
            if digest_of(int(held.places[row]), list(one.values()), found[number]) != held.digests[row]:
                raise held.damaged(f"row {row}, id {one['id']}, is not what was written")
        return found

    @cached_property
    def order(self) -> Int64[np.ndarray, "row"]:
        """The rows in ascending order of their keys."""
        order: Int64[np.ndarray, "row"] = np.argsort(self.held.keys, kind="stable")
        return order

    def rows_of(self, keys: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
        """Return the row of each key, -1 for one that is no row of this bank."""
        ascending = self.held.keys[self.order]
        places = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
        rows: Int64[np.ndarray, "*shape"] = np.where(ascending[places] == keys, self.order[places], -1)
        return rows

    def indexed(self, similarity: str | Similarity, kind: str | None, k: int, recall: float) -> "Verified | None":
        """Return the server's index with its measured recall; see ``server_index.indexed``."""
        from retrieval_explain.milvus.server_index import indexed  # noqa: PLC0415 - it reads rows, and these ask for it

        return indexed(self, similarity, kind, k, recall)
