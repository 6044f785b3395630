"""One bank of several: folders that each hold a saved bank, searched as one, in this process or by Ray actors."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from operator import eq
from pathlib import Path
from typing import Any, overload

import torch
from jaxtyping import Int64
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.engine import LOCAL, EngineOptions
from fsl_explain.similarities import Similarity
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.search.sharded import Searchers, SearchersHere, ShardedRows
from retrieval_explain.store.encoder_fingerprint import is_same_encoder
from retrieval_explain.store.entries import UNLABELED, EntriesInMemory
from retrieval_explain.store.stored_rows import StoredRows

RAY = "ray"


def load_shards(
    directories: Sequence[str | Path],
    *,
    similarity: str | Similarity | None = None,
    engine: str | EngineOptions = LOCAL,
) -> MemoryBank:
    """Open several stored banks as one, whose rows are those of the folders, ``directories``, behind each other.

    Its neighbors, votes and explanations are those of one bank of the same rows, in the same order. Its ids are those
    of the folders, or the numbers of the rows where two folders share an id. ``similarity`` takes the place of the one
    they were built with. ``engine`` is ``local``, or ``ray``: then actors on a cluster, which sees the same folders,
    search them side by side. Change a folder by itself and open the shards again; ``append`` and its like make a bank
    in memory.

    Raises: as ``MemoryBank.load`` for each folder; ``ValueError`` for none, for one given twice, for another engine,
    and for folders of other encoders, preprocessings, similarities or dimensions, or of names beside numbers as labels;
    ``TypeError`` for one folder in the place of a list; ``ImportError`` for ``ray`` without its package.
    """
    if isinstance(directories, str | Path):
        raise WrongType(f"expected a list of folders, but got {str(directories)!r}; write [{str(directories)!r}].")
    folders = [Path(one) for one in directories]
    _check_each_once(folders)
    banks = [MemoryBank.load(folder, similarity=similarity) for folder in folders]
    _check_same("encoder", [bank.encoder for bank in banks], folders, is_same_encoder)
    for what, of in _SHARED.items():
        _check_same(what, [of(bank) for bank in banks], folders)
    shards = [bank.rows for bank in banks]
    searchers = _searchers(folders, banks, EngineOptions(engine) if isinstance(engine, str) else engine)
    rows = ShardedRows(tuple(shards), searchers)
    first = banks[0]
    return MemoryBank(rows, first.similarity, _entries(banks, folders), first.encoder, first.preprocessing)


_SHARED: dict[str, Callable[[MemoryBank], object]] = {
    "preprocessing": lambda bank: bank.preprocessing,
    "similarity": lambda bank: bank.similarity,
    "number of channels": lambda bank: bank.rows.shape[1],
}


class JoinedTexts(Sequence[str]):
    """Texts of several banks behind each other; none is read before it is asked for."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @overload
    def __getitem__(self, row: int, /) -> str: ...
    @overload
    def __getitem__(self, row: slice, /) -> list[str]: ...
    def __getitem__(self, row: int | slice, /) -> str | list[str]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        left = row + len(self) if row < 0 else row
        for part in self._parts:
            if 0 <= left < len(part):
                return part[left]
            left -= len(part)
        raise IndexError(f"expected one of {len(self)} rows, but got {row}.")


def _searchers(folders: Sequence[Path], banks: Sequence[MemoryBank], engine: EngineOptions) -> Searchers:
    stored = [bank.rows for bank in banks if isinstance(bank.rows, StoredRows)]
    if engine.name == LOCAL:
        return SearchersHere(tuple(stored))
    if engine.name != RAY:
        raise Mistake(f"shards are searched in this process or on {RAY}, but the engine is {engine.name}.")
    from retrieval_explain.search.shards_on_ray import SearchersOnRay  # noqa: PLC0415 - its package is an extra

    return SearchersOnRay.of(
        [str(folder.resolve()) for folder in folders], [one.stored.version for one in stored], engine
    )


def _check_each_once(folders: Sequence[Path]) -> None:
    if not folders:
        raise Mistake("expected the folders of the shards of a bank, but got none; name at least one.")
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise Mistake(f"expected each shard once, but got {folder} {places.count(place)} times; drop the others.")


def _check_same(
    what: str, values: Sequence[Any], folders: Sequence[Path], is_same: Callable[[Any, Any], bool] = eq
) -> None:
    for value, folder in zip(values, folders, strict=True):
        if not is_same(value, values[0]):
            raise Mistake(
                f"expected shards of one {what}, but {folders[0]} has {values[0]!r} and {folder} has {value!r}; "
                "open the folders that belong together."
            )


def _entries(banks: Sequence[MemoryBank], folders: Sequence[Path]) -> EntriesInMemory:
    ids = torch.cat([bank.ids for bank in banks])
    if len(ids.unique()) < len(ids):
        ids = torch.arange(len(ids))
    labels, classes = _labels(banks, folders)
    texts = [partial(getattr, bank.entries) for bank in banks]
    paths, contents = (JoinedTexts([of(name) for of in texts]) for name in ("paths", "contents"))
    return EntriesInMemory(ids, labels, classes, paths, contents)


def _labels(banks: Sequence[MemoryBank], folders: Sequence[Path]) -> tuple[Int64[Tensor, "row"], tuple[str, ...]]:
    """Return labels of all shards by one numbering: classes by name, as one bank would have them."""
    labeled = [place for place, bank in enumerate(banks) if bool((bank.labels != UNLABELED).any())]
    kinds = ["names" if banks[place].classes else "numbers" for place in labeled]
    _check_same("kind of labels", kinds, [folders[place] for place in labeled])
    classes = tuple(sorted(set(chain.from_iterable(bank.classes for bank in banks))))
    found = []
    for bank in banks:
        own = torch.tensor([*(classes.index(name) for name in bank.classes), UNLABELED])
        found.append(own[bank.labels] if bank.classes else bank.labels)
    return torch.cat(found), classes
