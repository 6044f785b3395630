"""A collection that holds the rows of a bank: written by primary key, read at strong consistency."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import BaseModel

from episodes.errors import Busy, Mistake
from retrieval_explain.milvus.entities import (
    CLAIM,
    CLAIM_KEY,
    COMPARED,
    DIGEST,
    EMBEDDING,
    KEY,
    KNOWN,
    NOTE,
    NOTE_KEYS,
    RECORD,
    ROW,
    SINCE,
    TEXTS,
    TOMBSTONE,
    compared_by,
    other_entity,
)
from retrieval_explain.milvus.record import LONGEST, Claim, Made, Measured, Record, read_text, text_of
from retrieval_explain.milvus.server import Server

MOST = 16384  # entities that a server returns of one question
PAGE = 8192  # keys that are asked for together
BATCH_BYTES, LARGEST_BATCH = 1 << 23, 2000
KEYS_TOGETHER = 4096
STRONG = {"consistency_level": "Strong"}
Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True)
class Collection:
    """A collection by its own name, which the bank's name is an alias of once it is whole."""

    server: Server
    name: str

    def create(self, made: Made) -> None:
        """Make the collection, with an exhaustive index. Raises: ``ValueError`` for what the server does not take."""
        client, types = self.server.pymilvus.MilvusClient, self.server.pymilvus.DataType
        compared = compared_by(made.similarity)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(KEY, types.INT64, is_primary=True)
        for field in (SINCE, ROW, "id", DIGEST):
            schema.add_field(field, types.INT64)
        for field in TEXTS:
            schema.add_field(field, types.VARCHAR, max_length=LONGEST, nullable=True)
        schema.add_field(EMBEDDING, types.FLOAT_VECTOR, dim=made.channels)
        if compared.transformed:
            wide = compared.of(np.ones((1, made.channels), np.float32)).shape[1]
            schema.add_field(COMPARED, types.FLOAT_VECTOR, dim=wide)
        indices = client.prepare_index_params()
        for field in dict.fromkeys((EMBEDDING, compared.field)):
            metric = compared.metric if field == compared.field else "L2"
            indices.add_index(field, index_type="FLAT", metric_type=metric)
        try:
            self.call("create_collection", schema=schema, index_params=indices, **STRONG)
        except Mistake:
            if not self.is_there():
                raise
            self.drop()  # it was made half, and the answer was lost
            self.call("create_collection", schema=schema, index_params=indices, **STRONG)

    def is_there(self) -> bool:
        """Say whether the server has the collection."""
        return self.name in self.server.call("list_collections")

    def call(self, verb: str, **options: Any) -> Any:
        """Call a verb of the client on this collection."""
        return self.server.call(verb, self.name, loads=self.name, **options)

    def once(self, verb: str, is_done: Callable[[], bool], **options: Any) -> None:
        """Call a verb that is refused the second time, which is right where the first answer was lost."""
        try:
            self.call(verb, **options)
        except Mistake:
            if not is_done():
                raise

    def drop(self) -> None:
        """Remove the collection from the server."""
        self.once("drop_collection", lambda: not self.is_there())

    def query(self, where: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return fields of the entities of which a condition holds, at most ``MOST`` of them."""
        found = self.call("query", filter=where, output_fields=list(fields), limit=MOST, **STRONG)
        return [dict(one) for one in found]

    def write(self, entities: Iterable[dict[str, Any]], channels: int, claim: Claim | None = None) -> None:
        """Write entities by their keys, batch by batch; one that is there already stays one.

        Raises: ``BlockingIOError`` where ``claim`` is that of a writer no more.
        """
        size = max(1, min(LARGEST_BATCH, BATCH_BYTES // (8 * channels + 256)))
        waiting = iter(entities)
        while batch := list(islice(waiting, size)):
            if claim is not None:
                self.expect(claim)
            self.call("upsert", data=batch)

    def remove(self, keys: Sequence[int]) -> None:
        """Delete the entities of these keys."""
        for start in range(0, len(keys), KEYS_TOGETHER):
            self.call("delete", ids=[int(key) for key in keys[start : start + KEYS_TOGETHER]])

    def pages(self, end: int) -> Iterator[list[dict[str, Any]]]:
        """Yield what is known of rows and tombstones, page by page, up to a key."""
        for start in range(1, end, PAGE):
            yield self.query(f"{KEY} >= {start} and {KEY} < {min(end, start + PAGE)}", KNOWN)

    def end(self) -> int:
        """Return a key behind that of every row."""
        end = 1
        while self.query(f"{KEY} >= {end} and {KEY} < {end + PAGE}", (KEY,)):
            end += PAGE
        return end

    def embeddings(self, keys: Int64[np.ndarray, "row"], channels: int) -> Float32[np.ndarray, "row channel"]:
        """Return the embeddings of some keys. Raises: ``BlockingIOError`` where one is there no more."""
        made = np.empty((len(keys), channels), np.float32)
        size = max(1, min(KEYS_TOGETHER, BATCH_BYTES // (4 * channels)))
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            found = self.query(f"{KEY} in {part.tolist()}", (KEY, EMBEDDING))
            there = {one[KEY]: one[EMBEDDING] for one in found}
            if len(there) < len(part):
                raise self.changed()
            made[start : start + len(part)] = np.asarray([there[key] for key in part.tolist()], np.float32)
        return made

    def record(self) -> Record | None:
        """Return the newest commit, None of a build that is not whole."""
        found = self.query(f"{ROW} == {RECORD}", (SINCE, "path"))
        newest = max(found, key=lambda one: cast("int", one[SINCE]), default=None)
        return None if newest is None else self._read(Record, newest)

    def commits(self) -> int:
        """Return the transaction of the newest commit, -1 where there is none."""
        return max((one[SINCE] for one in self.query(f"{ROW} == {RECORD}", (SINCE,))), default=-1)

    def claim(self) -> Claim | None:
        """Return the claim of the last writer."""
        found = self.query(f"{KEY} in [{CLAIM_KEY}]", ("path",))  # asked before each batch, and quick by the key
        return self._read(Claim, found[0]) if found else None

    def take(self, claim: Claim) -> None:
        """Become the writer of the collection; whoever was it before finds out at its next batch."""
        self.write([other_entity(CLAIM_KEY, CLAIM, claim.since, claim.made, text=text_of(claim))], claim.made.channels)
        self.expect(claim)

    def expect(self, claim: Claim) -> None:
        """Refuse to go on where another writer has begun. Raises: ``BlockingIOError``."""
        if self.claim() != claim:
            raise Busy(
                f"another process began to write the bank {self.server.address} meanwhile; the bank is as it was: try "
                "again when that one is done."
            )

    def commit(self, record: Record) -> None:
        """Make a transaction the bank's. It is on the server's disk before its record is, and then that is, too."""
        self.call("flush")
        entity = other_entity(-record.since, RECORD, record.since, record.made, text=text_of(record))
        self.write([entity], record.made.channels)
        self.call("flush")

    def measured(self, kind: str, k: int, since: int) -> Measured | None:
        """Return what was measured of an index, for the rows of a commit and a number of neighbors."""
        found = self.query(f"{ROW} == {NOTE} and {SINCE} == {since}", ("path",))
        for told in (self._read(Measured, one) for one in found):
            if (told.kind, told.k) == (kind, k):
                return told
        return None

    def note(self, told: Measured, since: int, made: Made) -> None:
        """Keep what was measured, in the place of what was before."""
        key = NOTE_KEYS - sum(told.kind.encode()) * MOST - min(told.k, MOST - 1)
        self.write([other_entity(key, NOTE, since, made, text=text_of(told))], made.channels)

    def clear(self, record: Record, since: int) -> None:
        """Remove what writers before this transaction left without a commit, and what is no more the bank's."""
        self.call("delete", filter=f"{SINCE} > {record.since} and {SINCE} < {since} and {KEY} > 0")
        for skipped in record.skipped:
            self.call("delete", filter=f"{SINCE} == {skipped} and {KEY} > 0")
        self.bury(record)

    def bury(self, record: Record) -> None:
        """Remove the rows under tombstones, then these, and the records and notes of earlier commits."""
        while buried := self.query(f"{ROW} == {TOMBSTONE} and {SINCE} <= {record.since}", (KEY, "id")):
            self.remove([one["id"] for one in buried])
            self.remove([one[KEY] for one in buried])
        old = self.query(f"({ROW} == {RECORD} or {ROW} == {NOTE}) and {SINCE} < {record.since}", (KEY,))
        self.remove([one[KEY] for one in old])

    def changed(self) -> Busy:
        """Return the error about rows that are there no more."""
        return Busy(
            f"the bank {self.server.address} was changed by another process since it was opened; open it again."
        )

    def _read(self, kind: type[Told], entity: dict[str, Any]) -> Told:
        return cast("Told", read_text(kind, str(entity["path"]), self.server.address.name))
