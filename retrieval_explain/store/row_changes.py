"""Changes of a bank's rows as values: which rows stay, which are replaced and which are added.

The same change is made of a bank in memory and of one on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int64, Shaped

from episodes.errors import Mistake, UnknownName
from retrieval_explain.store.bank_rows import (
    SeenIds,
    Texts,
    check_embeddings,
    check_labels,
    rows_table,
    stored_embeddings,
    whole_ids,
)
from retrieval_explain.store.manifest import NAMES, NUMBERS

LISTED = 3  # ids that a sentence names


@dataclass(frozen=True)
class Existing:
    """What a change has to know of a bank: its table of id, label, path and content, and what its rows share.

    These are the channels, dtype, similarity, encoder and preprocessing of all rows, and whether labels are numbers
    (``numbered``); ``name`` is what a sentence calls the bank.
    """

    table: pa.Table
    channels: int
    dtype: str
    similarity: str
    encoder: str = ""
    numbered: bool = False
    name: str = ""
    preprocessing: str = ""

    @property
    def ids(self) -> Int64[np.ndarray, "row"]:
        """The id of every row."""
        ids: Int64[np.ndarray, "row"] = self.table["id"].to_numpy()
        return ids

    def rows_of(self, ids: Sequence[int] | Shaped[np.ndarray, "row"], to: str) -> Int64[np.ndarray, "row"]:
        """Return the row of each id. Raises: ``LookupError`` naming the first that is not there and the nearest."""
        numbers, there = whole_ids(ids), self.ids
        order = np.argsort(there, kind="stable")
        places = np.searchsorted(there[order], numbers)
        found = places < len(there)
        found[found] = there[order][places[found]] == numbers[found]
        if not found.all():
            raise _unknown(int(numbers[~found][0]), int((~found).sum()), there, self.name, to)
        rows: Int64[np.ndarray, "row"] = order[places]
        return rows


@dataclass(frozen=True)
class Change:
    """A bank's rows after a change: those of the old ones that are kept, some with another embedding, then new ones.

    ``kept`` is of the old rows, ``table`` of all rows after the change. ``replaced`` are old rows, in ascending order,
    that get the embeddings ``replacements``; ``added`` are those of new rows. ``is_nothing``: the bank stays as it is.
    """

    kept: Bool[np.ndarray, "row"]
    table: pa.Table
    replaced: Int64[np.ndarray, "other"]
    replacements: Float[np.ndarray, "other channel"]
    added: Float[np.ndarray, "new channel"]
    is_nothing: bool = False

    def of_block(self, start: int, block: Float[np.ndarray, "old channel"]) -> Float[np.ndarray, "left channel"]:
        """Return what becomes of consecutive old rows, of which ``start`` is the first."""
        first, last = np.searchsorted(self.replaced, [start, start + len(block)])
        if first < last:
            block = block.copy()
            block[self.replaced[first:last] - start] = self.replacements[first:last]
        left: Float[np.ndarray, "left channel"] = block[self.kept[start : start + len(block)]]
        return left


def appended(
    bank: Existing,
    embeddings: Shaped[np.ndarray, "*shape"],
    ids: Sequence[int] | Shaped[np.ndarray, "row"] | None = None,
    labels: Texts = None,
    paths: Texts = None,
    contents: Texts = None,
) -> Change:
    """Add rows behind the others; ids that are not given go on from the largest.

    Raises: ``ValueError`` for another dimension, rows without a similarity, lists of another length, an id that is
    taken, or labels that are names where those of the bank are numbers.
    """
    seen = SeenIds()
    seen.add(bank.ids)
    stored = stored_embeddings(embeddings, bank.channels, bank.dtype)
    numbers = np.arange(seen.next_id, seen.next_id + len(stored)) if ids is None else whole_ids(ids)
    table = rows_table(len(stored), numbers, labels, paths, contents)
    check_labels(table, NUMBERS if bank.numbered else NAMES)
    check_embeddings(stored, bank.similarity, table)
    seen.add(numbers)
    kept = np.ones(len(bank.table), dtype=bool)
    joined = pa.concat_tables([bank.table, table])
    return Change(kept, joined, *_no_rows(bank), stored, is_nothing=not len(stored))


def deleted(bank: Existing, ids: Sequence[int] | Shaped[np.ndarray, "row"]) -> Change:
    """Take rows out; the others keep their order and their ids.

    Raises: ``LookupError`` naming the first id that is not there and the nearest that are.
    """
    kept = np.ones(len(bank.table), dtype=bool)
    kept[bank.rows_of(ids, "delete")] = False
    rows, nothing = _no_rows(bank)
    return Change(kept, bank.table.filter(pa.array(kept)), rows, nothing, nothing, is_nothing=bool(kept.all()))


def updated(
    bank: Existing,
    ids: Sequence[int] | Shaped[np.ndarray, "row"],
    embeddings: Shaped[np.ndarray, "*shape"] | None = None,
    labels: Texts = None,
    paths: Texts = None,
    contents: Texts = None,
) -> Change:
    """Give rows another embedding, label or path; what is None stays, and so do ids and the order of the rows.

    Raises: as ``appended``; ``LookupError`` for an id that is not there; ``ValueError`` for one that is given twice.
    """
    rows = bank.rows_of(ids, "update")
    if len(np.unique(rows)) < len(rows):
        raise Mistake(
            f"expected each id once, but got {len(rows)} ids of {len(np.unique(rows))} images; drop the rest."
        )
    new = rows_table(len(rows), bank.ids[rows], labels, paths, contents)
    check_labels(new, NUMBERS if bank.numbered else NAMES)
    order = np.argsort(rows)
    replaced, replacements = _no_rows(bank)
    if embeddings is not None:
        stored = stored_embeddings(embeddings, bank.channels, bank.dtype)
        if len(stored) != len(rows):
            raise Mistake(f"expected one embedding for each of {len(rows)} ids, but got {len(stored)}.")
        check_embeddings(stored, bank.similarity, new if paths is not None else bank.table.take(pa.array(rows)))
        replaced, replacements = rows[order], stored[order]
    table = bank.table
    for name, given in (("label", labels), ("path", paths), ("content", contents)):
        if given is not None:
            values = table[name].to_pylist()
            for row, value in zip(rows.tolist(), new[name].to_pylist(), strict=True):
                values[row] = value
            place = table.column_names.index(name)
            table = table.set_column(place, table.schema.field(name), pa.array(values, pa.string()))
    kept = np.ones(len(bank.table), dtype=bool)
    return Change(kept, table, replaced, replacements, _no_rows(bank)[1], is_nothing=not len(rows))


def _no_rows(bank: Existing) -> tuple[Int64[np.ndarray, "none"], Float[np.ndarray, "none channel"]]:
    return np.empty(0, np.int64), np.empty((0, bank.channels), bank.dtype)


def _unknown(number: int, how_many: int, there: Int64[np.ndarray, "row"], name: str, to: str) -> UnknownName:
    distance = np.abs(there.astype(np.float64) - number)
    near = sorted(there[np.argsort(distance, kind="stable")[:LISTED]].tolist())
    others = f" and {how_many - 1} more of those given" if how_many > 1 else ""
    nearest = f"the nearest are {', '.join(map(str, near))}" if near else "it holds no image"
    return UnknownName(f"the bank {name} has no image with id {number}{others} to {to}; {nearest}.")
