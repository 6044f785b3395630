"""A change of a bank on a Milvus server: new rows and tombstones, then one record that counts them in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float32, Int64

from episodes.errors import Busy
from retrieval_explain.milvus.entities import (
    DIGEST,
    MODULUS,
    TEXTS,
    TOMBSTONE,
    compared_by,
    largest_norm,
    other_entity,
    row_entities,
)
from retrieval_explain.milvus.held import Held, MilvusRows
from retrieval_explain.milvus.record import Claim, Record
from retrieval_explain.store.row_changes import Change


def apply(change: Change, held: Held, claim: Claim) -> None:
    """Make a change of the rows that are held, as the writer that has the claim.

    Raises: ``BlockingIOError`` where another process writes meanwhile; the bank is as it was.
    """
    collection, record = held.collection, held.record
    again, embeddings = _written_again(change, held)
    count = int(change.kept.sum())
    table = pa.concat_tables([_kept_of(change, again), change.table.slice(count)])
    values = np.concatenate([embeddings, change.added]).astype(np.float32)
    places = np.concatenate([held.places[again], held.places.max(initial=-1) + 1 + np.arange(len(change.added))])
    gone = np.concatenate([np.flatnonzero(~change.kept), again])
    first = claim.until
    collection.expect(claim)
    claim = claim.model_copy(update={"until": first + len(places) + len(gone)})
    collection.take(claim)
    digests: list[int] = []

    def entities() -> Iterator[dict[str, Any]]:
        keys, compared = first + np.arange(len(places)), compared_by(record.made.similarity)
        for one in row_entities(keys, places, claim.since, table, values, compared):
            digests.append(one[DIGEST])
            yield one
        for key, row in enumerate(gone.tolist(), first + len(places)):
            yield other_entity(key, TOMBSTONE, claim.since, record.made, target=int(held.keys[row]))

    collection.write(entities(), record.made.channels, claim)
    largest = largest_norm(compared_by(record.made.similarity).of(values)) if len(values) else 0.0
    after = Record(
        made=record.made,
        since=claim.since,
        rows=len(change.table),
        digest=(record.digest + sum(digests) - sum(held.digests[gone].tolist())) % MODULUS,
        next=claim.until,
        largest=max(record.largest, largest),
        numbered=record.numbered,
        skipped=(*record.skipped, *range(record.since + 1, claim.since)),
    )
    collection.expect(claim)
    if collection.commits() != record.since:
        raise Busy(f"the bank {collection.server.address} was changed meanwhile; do the same again.")
    collection.commit(after)
    collection.bury(after)


def _written_again(change: Change, held: Held) -> tuple[Int64[np.ndarray, "row"], Float32[np.ndarray, "row channel"]]:
    """Return the old rows that stay with another embedding or text, and their embeddings after the change."""
    kept = np.flatnonzero(change.kept)
    rows = kept[np.isin(kept, change.replaced) | _told_otherwise(change, held, kept)]
    embeddings: Float32[np.ndarray, "row channel"] = MilvusRows(held).take(torch.from_numpy(rows)).numpy().copy()
    replaced = np.isin(rows, change.replaced)
    embeddings[replaced] = change.replacements[np.searchsorted(change.replaced, rows[replaced])]
    return rows, embeddings


def _told_otherwise(change: Change, held: Held, kept: Int64[np.ndarray, "row"]) -> Bool[np.ndarray, "row"]:
    """Return which of the kept rows get another label, path or content."""
    other = np.zeros(len(kept), dtype=bool)
    before, after = held.table.take(pa.array(kept)), change.table.slice(0, len(kept))
    for name in TEXTS:
        if not before[name].equals(after[name]):
            pairs = zip(before[name].to_pylist(), after[name].to_pylist(), strict=True)
            other |= np.array([old != new for old, new in pairs], dtype=bool)
    return other


def _kept_of(change: Change, rows: Int64[np.ndarray, "row"]) -> pa.Table:
    """Return what is known, after a change, of some of the old rows that stay."""
    places = np.cumsum(change.kept) - 1
    return change.table.take(pa.array(places[rows]))
