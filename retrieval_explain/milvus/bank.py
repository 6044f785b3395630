"""A bank on a Milvus server as a store: opened, changed as a whole, and built anew beside the one that is there.

The bank's name is an alias of the collection that holds it, so that one step of the server puts another in its place.
"""

import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from episodes.errors import MissingFile, Mistake
from retrieval_explain.bank_address import Address
from retrieval_explain.milvus.changing import apply
from retrieval_explain.milvus.collection import Collection
from retrieval_explain.milvus.held import Held, MilvusRows, entries_of
from retrieval_explain.milvus.record import Claim, Record
from retrieval_explain.milvus.server import Server
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.row_changes import Change, Existing
from retrieval_explain.store.stores import Opened, Writer


@dataclass(frozen=True)
class MilvusStore:
    """One bank of a server."""

    address: Address

    @cached_property
    def server(self) -> Server:
        """The connection."""
        return Server(self.address)

    @property
    def directory(self) -> None:
        """It is kept in no folder."""
        return None

    def __str__(self) -> str:
        return str(self.address)

    def open(self) -> Opened:
        """Read what is known of the bank's rows; embeddings are read when they are asked for.

        Raises: ``FileNotFoundError`` where there is none; ``ValueError`` for a collection that holds another number of
        rows than were written, or is none of ours; ``ConnectionError``.
        """
        held = self._held()
        made = held.record.made
        entries = entries_of(held.table, held.record.numbered)
        return Opened(MilvusRows(held), entries, made.similarity, made.encoder, made.preprocessing)

    def existing(self) -> Existing:
        """Return what a change has to know of the bank."""
        return self._existing(self._held())

    def change(self, change: Callable[[Existing], Change]) -> None:
        """Write what is new beside the rows that are there, then make it the bank's in one step."""
        collection = self._collection()
        claim = self._claimed(collection)
        held = Held(collection, self._record(collection))
        made = change(self._existing(held))
        if not made.is_nothing:
            apply(made, held, claim)

    def writer(self, settings: Settings, resume: bool, expected_rows: int) -> AbstractContextManager[Writer]:  # noqa: ARG002
        """Build in a collection of its own, which takes the name of the bank at its end."""
        from retrieval_explain.milvus.writer import MilvusWriter  # noqa: PLC0415 - it writes what this one opens

        return MilvusWriter(self, settings, resume)

    def current(self) -> str | None:
        """Return the collection that the bank's name stands for; None where it is not built.

        Raises: ``ValueError`` where the name is that of a collection of someone else.
        """
        there: list[str] = self.server.call("list_collections")
        name = self.address.collection
        if name in there:
            raise Mistake(f"{self} is a collection that this software did not make; choose another name for the bank.")
        if name not in self.server.call("list_aliases").get("aliases", []):
            return None
        found: str = self.server.call("describe_alias", name)["collection_name"]
        if not self.owns(found):
            raise Mistake(f"{self} is an alias of {found}, which this software did not make; choose another name.")
        return found

    def owns(self, collection: str) -> bool:
        """Say whether a collection's name is one that this bank gives."""
        return re.fullmatch(re.escape(self.address.collection) + "_[0-9a-f]{12}", collection) is not None

    def others(self) -> list[Collection]:
        """Return the bank's collections that it does not stand for: builds that are not whole, and banks of before."""
        current = self.current()
        there: list[str] = self.server.call("list_collections")
        return [Collection(self.server, name) for name in sorted(there) if self.owns(name) and name != current]

    def switch(self, collection: Collection) -> None:
        """Let the bank's name stand for a collection, and drop those that it stood for."""
        verb = "create_alias" if self.current() is None else "alter_alias"
        collection.once(verb, lambda: self.current() == collection.name, alias=self.address.collection)
        for other in self.others():
            other.drop()

    def _collection(self) -> Collection:
        name = self.current()
        if name is None:
            if self.others():
                raise MissingFile(f"expected a memory bank, but {self} holds a build that is not whole; resume it.")
            raise MissingFile(f"expected a memory bank, but {self} holds none; build one there first.")
        return Collection(self.server, name)

    def _record(self, collection: Collection) -> Record:
        found = collection.record()
        if found is None:
            raise Mistake(f"expected a memory bank, but {self} holds no record of one; build the bank again.")
        return found

    def _held(self) -> Held:
        collection = self._collection()
        try:
            return Held(collection, self._record(collection))
        except Mistake:
            if collection.commits() == self._record(collection).since and self.current() == collection.name:
                raise
        return self._held()

    def _existing(self, held: Held) -> Existing:
        made = held.record.made
        told = (made.similarity, made.encoder, held.record.numbered, str(self), made.preprocessing)
        return Existing(held.table, made.channels, "float32", *told)

    @staticmethod
    def _of(record: Record, before: Claim | None) -> Claim:
        """Return a claim of a transaction, and of keys, that no writer before has had."""
        since = 1 + max(record.since, before.since if before else 0)
        until = max(record.next, before.until if before else 0)
        return Claim(writer=secrets.token_hex(8), since=since, until=until, made=record.made)

    def _claimed(self, collection: Collection) -> Claim:
        """Become the writer, and remove what stopped ones left."""
        record = self._record(collection)
        claim = self._of(record, collection.claim())
        collection.take(claim)
        collection.clear(record, claim.since)
        return claim
