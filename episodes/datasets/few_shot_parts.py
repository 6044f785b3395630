"""Data sets that come as three parts, train, val and test, which share no class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from episodes.datasets.class_folders import images_by_class
from episodes.errors import MissingFile, Mistake
from episodes.naming import unknown_name
from episodes.text_files import read_table

PARTS = ("train", "val", "test")

Listed = list[tuple[Path, str]]
"""The path and the class of each image."""


def chosen_parts(part: str | None, present: Sequence[str], expected: str) -> tuple[str, ...]:
    """Return the one part that is asked for, or all that are present.

    Args:
        part: train, val or test; None for all.
        present: the parts whose folder or table is there.
        expected: what the error says was expected.

    Raises:
        LookupError: there is no such part.
        FileNotFoundError: the part, or every one of them, is missing.
    """
    if part is not None and part not in PARTS:
        raise unknown_name("part", part, PARTS)
    wanted = PARTS if part is None else (part,)
    found = tuple(name for name in wanted if name in present)
    if not found:
        raise MissingFile(f"expected {expected}, but found none of them; check the path.")
    return found


def images_of_folders(root: Path, parts: Sequence[str]) -> Listed:
    """Return the images of ``root/<part>/<class>/``, part after part, sorted by class and file name.

    Raises: ``FileNotFoundError`` or ``ValueError`` for a folder that is missing or empty, and
    ``ValueError`` for a class in two parts.
    """
    listed = {
        part: [(path, name) for name, files in images_by_class(root / part).items() for path in files] for part in parts
    }
    return _joined(listed, root)


def images_of_tables(root: Path, parts: Sequence[str], images: Path) -> Listed:
    """Return the images of ``<part>.csv`` with the columns filename and label, in the order of the lines.

    Raises:
        LookupError: a table lacks a column.
        ValueError: a line is short, a table is empty, an image is listed twice, or a class stands in two parts.
    """
    return _joined({part: _table(root / f"{part}.csv", images) for part in parts}, root)


def _table(path: Path, images: Path) -> Listed:
    line_of: dict[str, int] = {}
    listed: Listed = []
    for line, row in read_table(path, ("filename", "label")):
        name, label = row["filename"], row["label"]
        if not name or not label:
            raise Mistake(
                f"{path}, line {line}: expected filename,label, but got {list(row.values())}; restore the file."
            )
        if line_of.setdefault(name, line) != line:
            raise Mistake(f"{path}, line {line}: {name} stands in line {line_of[name]} already; list every image once.")
        listed.append((images / name, label))
    if not listed:
        raise Mistake(f"{path} lists no image; expected one line filename,label per image.")
    return listed


def _joined(listed: Mapping[str, Listed], root: Path) -> Listed:
    part_of: dict[str, str] = {}
    for part, rows in listed.items():
        for class_name in {class_name for _, class_name in rows}:
            if part_of.setdefault(class_name, part) != part:
                raise Mistake(
                    f"{root}: class {class_name} stands in {part_of[class_name]} and in {part}; "
                    "every class belongs in one part, so restore the official files."
                )
    return [row for rows in listed.values() for row in rows]
