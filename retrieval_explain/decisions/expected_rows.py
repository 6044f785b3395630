"""Which rows of a bank a user means by a path, an id or a class."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import torch
from jaxtyping import Int
from torch import Tensor

from episodes.errors import Mistake, UnknownName, WrongType
from episodes.naming import MAX_LISTED, unknown_name
from retrieval_explain.memory_bank import MemoryBank

KINDS = ("path", "id", "class")
Reference = str | Path | int


@dataclass(frozen=True)
class ExpectedRows:
    """What was meant: one image, or every image of a class."""

    kind: str  # path, id or class
    name: str  # the file's name, the id or the class, for a sentence
    rows: Int[Tensor, "row"]


def expected_rows(bank: MemoryBank, reference: Reference) -> ExpectedRows:
    """Find the image with a path or an id, or the images of a class.

    A whole number is an id. A text is whichever of the three it can be; ``path:``, ``id:`` or ``class:`` before it
    says which. A path may be given by its last parts alone, such as ``birds/3.jpg``, where they name one image.

    Raises: ``LookupError`` with the nearest names where nothing fits; ``ValueError`` where more than one thing does.
    """
    kind, text = _kind_and_text(reference)
    found = {name: rows for name in ([kind] if kind else KINDS) if len(rows := _FINDERS[name](bank, text))}
    if not found:
        raise _unknown(bank, kind, text)
    if len(found) > 1:
        raise Mistake(
            f"expected one image or class, but {text!r} is {' and '.join(_article(name) for name in found)} of the "
            f"bank; write {' or '.join(f'{name}:{text}' for name in found)}."
        )
    chosen, rows = next(iter(found.items()))
    if chosen != "class" and len(rows) > 1:
        some = ", ".join(f"id:{int(bank.ids[row])} ({bank.paths[row]})" for row in rows[:3].tolist())
        raise Mistake(
            f"expected one image, but {text!r} names {len(rows)} of the bank: {some}{' …' if len(rows) > 3 else ''}; "
            "give more of its path, or its id as id:NUMBER."
        )
    return ExpectedRows(chosen, text, rows)


def _kind_and_text(reference: Reference) -> tuple[str | None, str]:
    if isinstance(reference, bool) or not isinstance(reference, str | PurePath | int):
        raise WrongType(
            f"expected a path, an id or a class of the bank, but got {type(reference).__name__}; give a text or an id."
        )
    if isinstance(reference, int):
        return "id", str(reference)
    if isinstance(reference, PurePath):
        return "path", str(reference)
    kind, colon, text = reference.partition(":")
    if colon and kind in KINDS:
        return kind, text
    return None, reference


def _of_path(bank: MemoryBank, text: str) -> Int[Tensor, "row"]:
    if not text:
        return torch.empty(0, dtype=torch.int64)
    paths = list(bank.paths)
    wanted = {text, str(Path(text).resolve())}
    same = [row for row, path in enumerate(paths) if path in wanted]
    if not same:
        parts = PurePath(text).parts
        ends = parts[-1] if parts else text
        same = [row for row, path in enumerate(paths) if path.endswith(ends) and _ends_with(path, parts)]
    return torch.tensor(same, dtype=torch.int64)


def _ends_with(path: str, parts: tuple[str, ...]) -> bool:
    return bool(parts) and PurePath(path).parts[-len(parts) :] == parts


def _of_id(bank: MemoryBank, text: str) -> Int[Tensor, "row"]:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or not -(2**63) <= int(text[:25]) < 2**63:
        return torch.empty(0, dtype=torch.int64)
    return (bank.ids == int(text)).nonzero()[:, 0]


def _of_class(bank: MemoryBank, text: str) -> Int[Tensor, "row"]:
    if bank.classes:
        number = bank.classes.index(text) if text in bank.classes else None
    else:
        number = int(text) if text.isascii() and text.isdecimal() and int(text[:25]) < 2**63 else None
    return torch.empty(0, dtype=torch.int64) if number is None else (bank.labels == number).nonzero()[:, 0]


_FINDERS = {"path": _of_path, "id": _of_id, "class": _of_class}


def _article(kind: str) -> str:
    return "an id" if kind == "id" else f"a {kind}"


def _unknown(bank: MemoryBank, kind: str | None, text: str) -> UnknownName:
    if kind == "id":
        low, high = int(bank.ids.min()), int(bank.ids.max())
        return UnknownName(f"expected the id of an image of the bank, from {low} to {high}, but got {text}.")
    files = [] if kind == "class" else list(dict.fromkeys(PurePath(path).name for path in bank.paths if path))
    numbers = [] if bank.classes else bank.labels[bank.labels >= 0].unique().tolist()
    classes = [] if kind == "path" else [*bank.classes, *map(str, numbers)][: 10 * MAX_LISTED]
    name = PurePath(text).name or text
    return unknown_name({"class": "class", "path": "image"}.get(kind or "", "image or class"), name, [*classes, *files])
