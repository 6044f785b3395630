"""Which rows of a bank a search may return."""

from collections.abc import Collection, Sequence, Set
from numbers import Integral

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from episodes.errors import Mistake, UnknownName, WrongType
from episodes.naming import unknown_name
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.store.entries import Entries
from retrieval_explain.store.given_rows import wanted_neighbors

ABSENT = -1


def allowed_rows(
    entries: Entries,
    rows: int,
    classes: Sequence[str] | Sequence[int] | None = None,
    ids: Sequence[int] | Int[Tensor, "..."] | None = None,
    without: Sequence[int] | Int[Tensor, "..."] | None = None,
) -> Bool[Tensor, "row"] | None:
    """Return where a row is of one of the classes, has one of the ids and is not left out; None for everywhere.

    Raises: ``LookupError`` for an unknown class or id, ``ValueError`` for a row to leave out that is not there.
    """
    if classes is None and ids is None and without is None:
        return None
    allowed = torch.ones(rows, dtype=torch.bool)
    if classes is not None:
        _check_classes(classes)
        allowed &= torch.isin(entries.labels, torch.tensor([_number_of(entries, name) for name in classes]))
    if ids is not None:
        allowed &= _with_ids(entries, _whole_numbers(_listed(ids), "ids"))
    if without is not None:
        left_out = _whole_numbers(_listed(without), "without")
        _check_rows(left_out, rows, 0)
        allowed[left_out] = False
    return allowed


def own_rows(
    leave_out: Sequence[int] | Int[Tensor, "..."] | None, queries: int, allowed: Bool[Tensor, "row"] | None, rows: int
) -> Int[Tensor, "query"] | None:
    """Return each query's own row, -1 where it has none among the allowed ones; None where no query has one.

    Raises: ``ValueError`` for a row that is not there, or not one row for each query.
    """
    if leave_out is None:
        return None
    own = _whole_numbers(leave_out, "leave_out")
    if len(own) != queries:
        raise Mistake(
            f"expected one row to leave out for each of {queries} queries, but got {len(own)}; give -1 for none."
        )
    _check_rows(own, rows, ABSENT)
    if allowed is not None:
        own = torch.where(allowed[own.clamp(min=0)], own, ABSENT)
    return own if bool((own != ABSENT).any()) else None


def _check_classes(given: object) -> None:
    if isinstance(given, str):
        raise WrongType(f"expected a list of classes, but got {given!r}; write [{given!r}].")
    wrong = [given] if not isinstance(given, Collection) else [one for one in given if not _names_a_class(one)]
    if wrong:
        raise WrongType(f"expected classes to be a list of names or labels, but got {wrong[0]!r:.80}.")


def _names_a_class(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, Integral | Tensor) and not isinstance(value, bool))


def _listed(given: object) -> object:
    """Return a set as a list; rows that are chosen or left out have no order."""
    return list(given) if isinstance(given, Set) else given


def _whole_numbers(given: object, name: str) -> Int[Tensor, "row"]:
    """Return numbers as a flat tensor. Raises: ``TypeError`` for what is no tensor or list of whole numbers."""
    try:
        numbers = torch.as_tensor(np.ascontiguousarray(given) if isinstance(given, np.ndarray) else given)
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or (numbers.numel() and (numbers.is_floating_point() or numbers.dtype == torch.bool)):
        raise WrongType(f"expected {name} to be a tensor or a list of whole numbers, but got {given!r:.80}.")
    return numbers.flatten().long()


def wanted_among(
    k: int | None, rows: int, allowed: Bool[Tensor, "row"] | None, own: Int[Tensor, "query"] | None
) -> int:
    """Return how many neighbors of each query are looked for. Raises: as ``given_rows.wanted_neighbors``."""
    left = rows if allowed is None else int(allowed.sum())
    return wanted_neighbors(k, left - (own is not None), rows)


def without_own(found: Neighbors, own: Int[Tensor, "query"]) -> Neighbors:
    """Drop each query's own row from its neighbors, or the last neighbor where it is not among them."""
    kept = found.indices != own[:, None]
    kept[:, -1] &= ~kept.all(dim=-1)
    shape = (len(own), found.indices.shape[1] - 1)
    return Neighbors(found.indices[kept].reshape(shape), found.similarities[kept].reshape(shape))


def _number_of(entries: Entries, name: str | int) -> int:
    if isinstance(name, str):
        if name not in entries.classes:
            raise unknown_name("class", name, entries.classes)
        return entries.classes.index(name)
    if not bool((entries.labels == name).any()):
        raise UnknownName(f"expected a label of the bank, but no row has {name}.")
    return name


def _with_ids(entries: Entries, ids: Int[Tensor, "id"]) -> Bool[Tensor, "row"]:
    unknown = ids[~torch.isin(ids, entries.ids)]
    if len(unknown):
        raise UnknownName(f"expected ids of images of the bank, but none has {int(unknown[0])}; look its ids up.")
    return torch.isin(entries.ids, ids)


def _check_rows(given: Int[Tensor, "..."], rows: int, lowest: int) -> None:
    wrong = given[(given < lowest) | (given >= rows)].flatten()
    if len(wrong):
        raise Mistake(f"expected rows to leave out from {lowest} to {rows - 1}, but got {int(wrong[0])}.")
