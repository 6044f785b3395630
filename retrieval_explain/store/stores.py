"""Where a bank is kept: in a folder, or wherever else something plays the same roles."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from retrieval_explain.ranking.neighbors import Rows
from retrieval_explain.store.bank_rows import Texts
from retrieval_explain.store.changes import change_on_disk, existing
from retrieval_explain.store.entries import Entries, StoredEntries
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.row_changes import Change, Existing
from retrieval_explain.store.stored_rows import StoredRows
from retrieval_explain.store.writer import BankWriter


@dataclass(frozen=True)
class Opened:
    """What a store has of a bank: its rows, what is known of them (``entries``), and how they were made.

    ``similarity``, ``encoder`` and ``preprocessing`` are the texts that the bank keeps.
    """

    rows: Rows
    entries: Entries
    similarity: str
    encoder: str
    preprocessing: str


@runtime_checkable
class Writer(Protocol):
    """What takes a new bank's rows one after the other; see ``writer.BankWriter``."""

    notes: dict[str, Any]

    @property
    def rows(self) -> int:
        """How many rows have been given, those of the resumed build included."""
        ...

    def kept_rows(self) -> pa.Table:
        """Return the id, label, path and content of the rows that an interrupted build has kept."""
        ...

    def add(
        self,
        embeddings: Shaped[np.ndarray, "*shape"],
        ids: Sequence[int] | Shaped[np.ndarray, "row"] | None = None,
        labels: Texts = None,
        paths: Texts = None,
        contents: Texts = None,
    ) -> None:
        """Add rows to the bank."""
        ...


@runtime_checkable
class Store(Protocol):
    """One bank, wherever it is kept. Its text is what sentences call it.

    Laws: a change is made whole or not at all, and a bank that is there stays until the new one is whole.
    """

    @property
    def directory(self) -> Path | None:
        """The folder; None where the bank is kept in none."""
        ...

    def open(self) -> Opened:
        """Open the bank as it is now."""
        ...

    def existing(self) -> Existing:
        """Return what a change has to know of the bank."""
        ...

    def change(self, change: Callable[[Existing], Change]) -> None:
        """Make one change; what ``change`` is given cannot be changed by others meanwhile."""
        ...

    def writer(self, settings: Settings, resume: bool, expected_rows: int) -> AbstractContextManager[Writer]:
        """Begin a new bank, or go on with an interrupted build; it takes the place of the old one at its end."""
        ...


@dataclass(frozen=True)
class Folder:
    """A bank in a folder."""

    directory: Path

    def __str__(self) -> str:
        return str(self.directory)

    def open(self) -> Opened:
        """Open the current version."""
        stored = open_bank(self.directory)
        made = stored.manifest
        return Opened(StoredRows(stored), StoredEntries(stored), made.similarity, made.encoder, made.preprocessing)

    def existing(self) -> Existing:
        """Return what a change has to know of the bank."""
        stored = open_bank(self.directory)
        return existing(stored)

    def change(self, change: Callable[[Existing], Change]) -> None:
        """Make the next version."""
        change_on_disk(self.directory, change)

    def writer(self, settings: Settings, resume: bool, expected_rows: int) -> AbstractContextManager[Writer]:
        """Write aside and switch."""
        return BankWriter(self.directory, *settings, resume=resume, expected_rows=expected_rows)


Place: TypeAlias = str | Path | Store


def as_store(place: Place) -> Store:
    """Return a store as it is, and a path as the folder that it names."""
    return place if isinstance(place, Store) else Folder(Path(place))
