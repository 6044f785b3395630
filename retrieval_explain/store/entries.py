"""What a bank knows of each of its rows besides the embedding: id, label and path."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from episodes.errors import Mistake
from retrieval_explain.store.bank_rows import SeenIds, whole_ids
from retrieval_explain.store.files import StoredBank
from retrieval_explain.store.given_labels import as_labels
from retrieval_explain.store.manifest import LABELS, NUMBERS

UNLABELED = -1
Labels = Sequence[int] | Sequence[str] | Sequence[int | None] | Sequence[str | None] | Tensor


@dataclass(frozen=True)
class EntriesInMemory:
    """Ids, labels and paths of embeddings that were just made.

    ``ids`` are whole numbers, each of one row. ``labels`` are the numbers that were given, or indices into ``classes``
    where names were; -1 where an image has none. A path is "" where an image has none. ``contents`` are hashes of what
    the images held, "" where that is not known; empty where none is.
    """

    ids: Int64[Tensor, "row"]
    labels: Int64[Tensor, "row"]
    classes: tuple[str, ...]
    paths: Sequence[str]
    contents: Sequence[str] = ()


class StoredPaths(Sequence[str]):
    """A column of texts of a bank on disk; one is made a text when it is asked for. "" where an image has none."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, row: int, /) -> str: ...
    @overload
    def __getitem__(self, row: slice, /) -> list[str]: ...
    def __getitem__(self, row: int | slice, /) -> str | list[str]:
        if isinstance(row, slice):
            return [path or "" for path in self._column[row].to_pylist()]
        return self._column[row].as_py() or ""


@dataclass(frozen=True)
class StoredEntries:
    """Ids, labels and paths of a bank on disk, as ``EntriesInMemory`` has them.

    Nothing is read before it is asked for, and then only that column; the file is checked by its hash first.
    """

    stored: StoredBank

    @cached_property
    def ids(self) -> Int64[Tensor, "row"]:
        """The id of every row, a number that stays when others are deleted."""
        return torch.tensor(self.stored.ids)

    @property
    def labels(self) -> Int64[Tensor, "row"]:
        """The label of every row, as a number."""
        return self._labels[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that the labels are indices into, sorted; none where the labels are numbers."""
        return self._labels[1]

    @cached_property
    def paths(self) -> StoredPaths:
        """The path of every row."""
        return StoredPaths(self.stored.column("path"))

    @cached_property
    def contents(self) -> StoredPaths:
        """What every image held, as ``contents.content_of`` says it."""
        return StoredPaths(self.stored.column("content"))

    @cached_property
    def _labels(self) -> tuple[Int64[Tensor, "row"], tuple[str, ...]]:
        encoded = self.stored.column("label").dictionary_encode().combine_chunks()
        codes = torch.tensor(encoded.indices.fill_null(UNLABELED).to_numpy()).long()
        if self.stored.manifest.notes.get(LABELS) == NUMBERS:
            return _looked_up(codes, torch.tensor(encoded.dictionary.cast(pa.int64()).to_numpy())), ()
        order = pc.array_sort_indices(encoded.dictionary)
        return _looked_up(codes, torch.tensor(order.to_numpy()).long().argsort()), tuple(
            encoded.dictionary.take(order).to_pylist()
        )


def entries_in_memory(
    rows: int,
    labels: Labels | None,
    paths: Sequence[str | Path | None] | None,
    ids: Sequence[int] | Int[Tensor, "row"] | None,
) -> EntriesInMemory:
    """Return what is known of rows that were just made; ids are 0, 1, 2, … where none are given.

    Raises: ``ValueError`` for lists of another length, an id given twice, or names mixed with numbers.
    """
    named = tuple("" if path is None else str(path) for path in ([""] * rows if paths is None else paths))
    numbers, classes = _numbered(labels, rows)
    known = whole_ids(np.arange(rows) if ids is None else np.asarray(ids))
    for what, given in (("labels", numbers), ("paths", named), ("ids", known)):
        if len(given) != rows:
            raise Mistake(f"expected one of the {what} for each of {rows} rows, but got {len(given)}.")
    SeenIds().add(known)
    return EntriesInMemory(torch.from_numpy(known), numbers, classes, named)


def with_contents(entries: "Entries", contents: Sequence[str]) -> EntriesInMemory:
    """Return entries of images whose contents are known."""
    return EntriesInMemory(entries.ids, entries.labels, entries.classes, entries.paths, tuple(contents))


def _numbered(labels: Labels | None, rows: int) -> tuple[Int64[Tensor, "label"], tuple[str, ...]]:
    """Return labels as numbers, and the names they stand for where they were names."""
    if labels is None:
        return torch.full((rows,), UNLABELED), ()
    given = as_labels(labels)
    classes = tuple(sorted({label for label in given if isinstance(label, str)}))
    if not classes:
        return torch.tensor([UNLABELED if label is None else label for label in given], dtype=torch.int64), ()
    place: dict[Any, int] = {name: number for number, name in enumerate(classes)} | {None: UNLABELED}
    return torch.tensor([place[label] for label in given]), classes


def _looked_up(codes: Int64[Tensor, "row"], values: Int64[Tensor, "value"]) -> Int64[Tensor, "row"]:
    """Return the value of each code; a code of -1 stays -1."""
    return torch.cat([values, torch.tensor([UNLABELED])])[codes]


Entries = EntriesInMemory | StoredEntries
