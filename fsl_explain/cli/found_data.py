"""Which data a folder of the user holds: class folders, a table of boxes, or an official layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from episodes.box_formats import COLUMNS, RELATIVE, looks_relative
from episodes.errors import Mistake
from episodes.text_files import read_rows

FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
LABEL_COLUMNS = ("class", "label", "category", "wnid", "name")


@dataclass(frozen=True)
class FoundData:
    """The settings of ``[data]`` for a folder, without its place, and what was found, in words."""

    settings: Mapping[str, Any]
    what: str
    shows: str | None  # boxes or masks, where there are some


def found_data(folder: Path, boxes: Path | None = None) -> FoundData:
    """Return what a folder holds; ``boxes`` is the table to take.

    Raises: ``ValueError`` for several tables of boxes, and for one without the columns of files, classes and boxes.
    """
    if boxes is not None:
        return _by_table(folder, boxes)
    if all((folder / name).is_file() for name in ("images.txt", "classes.txt", "bounding_boxes.txt")):
        return FoundData({"kind": "cub"}, "in the official layout of CUB-200-2011", "boxes")
    if (folder / "annotations" / "trimaps").is_dir():
        return FoundData({"kind": "oxford-pet"}, "in the official layout of Oxford-IIIT Pet", "masks")
    tables = [path for path in sorted(folder.glob("*.csv")) if _columns(_heading(path)) is not None]
    if len(tables) > 1:
        raise Mistake(
            f"expected one table of boxes in {folder}, but found {', '.join(path.name for path in tables)}; name one "
            "with --boxes."
        )
    if tables:
        return _by_table(folder, tables[0])
    return FoundData({"kind": "image-folder"}, "one folder per class", None)


@dataclass(frozen=True)
class _Columns:
    file: str
    label: str
    box_format: str


def _by_table(folder: Path, table: Path) -> FoundData:
    columns = _columns(_heading(table))
    if columns is None:
        raise Mistake(
            f"expected the columns file, class, xmin, ymin, xmax and ymax in {table}, but got "
            f"{', '.join(_heading(table)) or 'none'}; name the columns so in its first line."
        )
    first = _first(table)
    relative = looks_relative([_number(first[edge]) for edge in COLUMNS[columns.box_format]]) if first else False
    inside = folder.resolve() in table.resolve().parents
    settings = {
        "kind": "csv",
        "table": table.resolve().relative_to(folder.resolve()).as_posix() if inside else str(table.resolve()),
        "images": "images" if first and (folder / "images" / first[columns.file]).is_file() else ".",
        "file": columns.file,
        "label": columns.label,
        "box_format": RELATIVE * relative + columns.box_format,
    }
    return FoundData(settings, f"listed with boxes in {table.name}", "boxes")


def _columns(heading: Sequence[str]) -> _Columns | None:
    """Return the columns of files, classes and boxes, or None where one of them is missing."""
    files = [name for name in FILE_COLUMNS if name in heading]
    labels = [name for name in LABEL_COLUMNS if name in heading]
    formats = [name for name, edges in COLUMNS.items() if set(edges) <= set(heading)]
    return _Columns(files[0], labels[0], formats[0]) if files and labels and formats else None


def _heading(table: Path) -> list[str]:
    return next(read_rows(table), (0, []))[1]


def _first(table: Path) -> dict[str, str]:
    rows = read_rows(table)
    heading = next(rows, (0, []))[1]
    return dict(zip(heading, next(rows, (0, []))[1], strict=False))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # the table is refused where it is read, with the line
