"""A change of a bank's rows, made of rows and entries in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from retrieval_explain.ranking.neighbors import Rows
from retrieval_explain.store.bank_rows import Texts, rows_table
from retrieval_explain.store.entries import (
    UNLABELED,
    Entries,
    EntriesInMemory,
    Labels,
    entries_in_memory,
    with_contents,
)
from retrieval_explain.store.given_labels import as_labels
from retrieval_explain.store.row_changes import Change, Existing


def changed_in_memory(
    rows: Rows, entries: Entries, similarity: str, change: Callable[[Existing], Change]
) -> tuple[Float[Tensor, "left channel"], EntriesInMemory]:
    """Return embeddings and entries after a change; those that were given stay as they are. Raises: as the change."""
    embeddings = rows.read(0, rows.shape[0])
    made = change(_existing(embeddings, entries, similarity))
    left = torch.cat([torch.from_numpy(part.copy()) for part in (made.of_block(0, embeddings.numpy()), made.added)])
    columns = {name: made.table[name].to_pylist() for name in ("id", "label", "path", "content")}
    labels = _numbers(columns["label"]) if _is_numbered(entries) else columns["label"]
    known = entries_in_memory(len(left), labels, columns["path"], columns["id"])
    contents = columns["content"] if any(columns["content"]) else ()
    return left, with_contents(known, [content or "" for content in contents])


def as_texts(entries: Entries, labels: Labels | None, paths: Sequence[str | Path | None] | None) -> tuple[Texts, Texts]:
    """Return labels and paths as users give them as lists of texts; None stays, and a label of -1 is none.

    Raises: ``ValueError`` for labels that are neither names nor numbers, or numbers where the bank has names.
    """
    given = None if labels is None else [None if label == UNLABELED else label for label in as_labels(labels)]
    number = next((label for label in given or () if isinstance(label, int)), None)
    if entries.classes and number is not None:
        raise Mistake(
            f"expected labels that are names, as those of the bank are, but got {number}; give the name of its class."
        )
    return (
        None if given is None else [None if label is None else str(label) for label in given],
        None if paths is None else [None if path is None else str(path) for path in paths],
    )


def texts_of(entries: Entries, part: slice) -> tuple[list[str | None], list[str | None], list[str | None] | None]:
    """Return labels, paths and contents of some rows as texts, None where there is none."""
    labels = [_label(entries, label) for label in entries.labels[part].tolist()]
    paths, contents = ([text or None for text in texts[part]] for texts in (entries.paths, entries.contents))
    return labels, paths, contents or None


def _existing(rows: Float[Tensor, "row channel"], entries: Entries, similarity: str) -> Existing:
    table = rows_table(len(rows), entries.ids.numpy(), *texts_of(entries, slice(None)))
    return Existing(table, rows.shape[1], "float32", similarity, numbered=_is_numbered(entries), name="in memory")


def _label(entries: Entries, label: int) -> str | None:
    if label == UNLABELED:
        return None
    return entries.classes[label] if entries.classes else str(label)


def _is_numbered(entries: Entries) -> bool:
    return not entries.classes and bool((entries.labels != UNLABELED).any())


def _numbers(labels: list[Any]) -> list[Any]:
    return [None if label is None else int(label) for label in labels]
