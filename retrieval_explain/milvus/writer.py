"""Building of a bank on a Milvus server; an interrupted build goes on behind the batches that it wrote."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from episodes.errors import Mistake
from retrieval_explain.milvus.collection import Collection
from retrieval_explain.milvus.entities import (
    DIGEST,
    KEY,
    MODULUS,
    ROW,
    compared_by,
    described_rows,
    largest_norm,
    row_entities,
)
from retrieval_explain.milvus.record import Claim, Made, Record
from retrieval_explain.milvus.server import Refused
from retrieval_explain.store.bank_rows import (
    SCHEMA,
    SeenIds,
    Texts,
    check_embeddings,
    rows_table,
    stored_embeddings,
    whole_ids,
)
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.manifest import LABELS, NAMES, NUMBERS

if TYPE_CHECKING:
    from retrieval_explain.milvus.bank import MilvusStore

FIRST_KEY = 1
SINCE_FIRST = 1
TOGETHER = 512  # rows that are written as one batch, and kept from there on
REPAIR = "use the former or build the bank again without resuming"


class MilvusWriter:
    """Writes a bank in a collection of its own; use it in a ``with`` block, at whose end it becomes the bank.

    The key of a row is its number, so that a batch that is written again doubles nothing. With ``resume`` it goes on
    behind the rows that an interrupted build has written.
    """

    def __init__(self, store: "MilvusStore", settings: Settings, resume: bool) -> None:
        if settings.dtype != "float32":
            raise Mistake(
                f"expected dtype float32 for a bank on a Milvus server, but got {settings.dtype}; keep it in a folder."
            )
        if settings.channels < 1:
            raise Mistake(f"expected embeddings of at least one channel, but got {settings.channels}.")
        told = (settings.similarity, settings.encoder, settings.preprocessing)
        self._made = Made(channels=settings.channels, similarity=told[0], encoder=told[1], preprocessing=told[2])
        self._compared = compared_by(settings.similarity)
        self.store: MilvusStore = store
        self.notes: dict[str, Any] = dict[str, Any]()
        self._resume = resume
        self._seen, self._kept, self._count, self._digest, self._largest = SeenIds(), SCHEMA.empty_table(), 0, 0, 0.0
        self._waiting: list[tuple[Shaped[np.ndarray, "row channel"], pa.Table]] = []

    def __enter__(self) -> "MilvusWriter":
        self.store.current()  # a name that is someone else's is refused now
        others = self.store.others()
        self._collection = self._unfinished(others) if self._resume else None
        for other in others:
            if other != self._collection:
                other.drop()
        if self._collection is None:
            self._collection = self._created()
        self._claim = Claim(writer=secrets.token_hex(8), since=SINCE_FIRST, until=FIRST_KEY, made=self._made)
        self._collection.take(self._claim)
        if self._resume:
            self._restore(self._collection)
        return self

    def _created(self) -> Collection:
        """Make a collection; a second name is tried where a killed server left half of one that it does not know."""
        with suppress(Refused):
            return self._created_anew()
        return self._created_anew()

    def _created_anew(self) -> Collection:
        made = Collection(self.store.server, f"{self.store.address.collection}_{secrets.token_hex(6)}")
        made.create(self._made)
        return made

    @property
    def rows(self) -> int:
        """How many rows have been given, those of the resumed build included."""
        return self._count + sum(len(table) for _, table in self._waiting)

    def kept_rows(self) -> pa.Table:
        """Return the id, label, path and content of the rows that the interrupted build has written."""
        return self._kept

    def add(
        self,
        embeddings: Shaped[np.ndarray, "*shape"],
        ids: Sequence[int] | Shaped[np.ndarray, "row"] | None = None,
        labels: Texts = None,
        paths: Texts = None,
        contents: Texts = None,
    ) -> None:
        """Add rows to the bank, as ``writer.BankWriter.add``."""
        stored = stored_embeddings(embeddings, self._made.channels, "float32")
        numbers = np.arange(self._seen.next_id, self._seen.next_id + len(stored)) if ids is None else whole_ids(ids)
        table = rows_table(len(stored), numbers, labels, paths, contents)
        check_embeddings(stored, self._made.similarity, table)
        self._seen.add(numbers)
        self._waiting.append((stored.copy(), table))
        if sum(len(one) for _, one in self._waiting) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what was added; it stays from here on."""
        if not self._waiting:
            return
        values = np.concatenate([stored for stored, _ in self._waiting])
        table = pa.concat_tables([one for _, one in self._waiting])
        places = self._count + np.arange(len(values))
        entities = list(row_entities(places + FIRST_KEY, places, SINCE_FIRST, table, values, self._compared))
        self._there.write(entities, self._made.channels, self._claim)
        self._took(entities, values)
        self._waiting = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if not issubclass(kind, ConnectionError):
                with suppress(Mistake):  # what is not written is embedded again by a build that goes on
                    self.flush()
            return
        self.flush()
        self._there.expect(self._claim)
        self._there.commit(
            Record(
                made=self._made,
                since=SINCE_FIRST,
                rows=self._count,
                digest=self._digest % MODULUS,
                next=FIRST_KEY + self._count,
                largest=self._largest,
                numbered=self.notes.get(LABELS, NAMES) == NUMBERS,
            )
        )
        self.store.switch(self._there)

    @property
    def _there(self) -> Collection:
        if self._collection is None:
            raise RuntimeError("a writer is used in a with block")
        return self._collection

    def _took(self, entities: Sequence[dict[str, Any]], values: Shaped[np.ndarray, "row channel"]) -> None:
        self._count += len(entities)
        self._digest += sum(one[DIGEST] for one in entities)
        self._largest = max(self._largest, largest_norm(self._compared.of(values)))

    def _unfinished(self, others: Sequence[Collection]) -> Collection | None:
        """Return the collection of the build to resume. Raises: ``ValueError`` for one of other settings."""
        for collection in others:
            claim = collection.claim()
            if claim is None:
                continue
            for name, asked in self._made.model_dump().items():
                if getattr(claim.made, name) != asked:
                    raise Mistake(
                        f"the unfinished build in {self.store} has {name} {getattr(claim.made, name)!r}, "
                        f"but {asked!r} is asked for; {REPAIR}."
                    )
            return collection
        return None

    def _restore(self, collection: Collection) -> None:
        """Take over the rows that are there, up to the first that is not; what lies behind is written again."""
        found: list[dict[str, Any]] = []
        for page in collection.pages(collection.end()):
            found += sorted((one for one in page if one[ROW] >= 0), key=lambda one: int(one[KEY]))
        whole = next((place for place, one in enumerate(found) if one[KEY] != FIRST_KEY + place), len(found))
        collection.remove([one[KEY] for one in found[whole:]])
        self._kept = described_rows(found[:whole])
        self._seen.add(self._kept["id"].to_numpy())
        for start in range(0, whole, TOGETHER):
            part = found[start : min(start + TOGETHER, whole)]
            keys = np.array([one[KEY] for one in part], np.int64)
            self._took(part, collection.embeddings(keys, self._made.channels))
