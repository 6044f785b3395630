"""The part locations of CUB-200-2011."""

from dataclasses import dataclass
from pathlib import Path

from episodes.errors import MissingFile, Mistake
from episodes.text_files import read_lines


@dataclass(frozen=True)
class PartLocation:
    """A point on the object, such as the tip of the beak; ``name`` is that of the part.

    ``x`` and ``y`` are pixels from the left and top, as the annotators gave them. Where the part is
    hidden, ``visible`` is False and the official files have x = y = 0.
    """

    name: str
    x: float
    y: float
    visible: bool


def part_locations(folder: Path) -> dict[str, tuple[PartLocation, ...]]:
    """Return the parts of every image by image id, from ``parts.txt`` and ``part_locs.txt`` of a folder.

    Raises:
        FileNotFoundError: one of the files does not exist.
        ValueError: a line cannot be read, or names a part that ``parts.txt`` lacks.
    """
    names = dict(_numbered_name(line, where) for line, where in _lines(folder / "parts.txt"))
    locations: dict[str, list[PartLocation]] = {}
    for line, where in _lines(folder / "part_locs.txt"):
        image, location = _location(line, names, where)
        locations.setdefault(image, []).append(location)
    return {image: tuple(parts) for image, parts in locations.items()}


def _lines(path: Path) -> list[tuple[str, str]]:
    """Return each line with its place."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist; expected CUB-200-2011's official layout with parts.")
    lines = read_lines(path)
    return [(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _numbered_name(line: str, where: str) -> tuple[str, str]:
    number, _, name = line.strip().partition(" ")
    if not number.isdecimal() or not name:
        raise Mistake(f"{where}: expected a number and the name of a part, got {line!r}; restore the file.")
    return number, name


def _location(line: str, names: dict[str, str], where: str) -> tuple[str, PartLocation]:
    try:
        image, part, x, y, visible = line.split()
        point = float(x), float(y)
        seen = {"0": False, "1": True}[visible]
    except (ValueError, KeyError):
        raise Mistake(
            f"{where}: expected 'image part x y visible' with visible 0 or 1, got {line!r}; restore the file."
        ) from None
    if part not in names:
        raise Mistake(f"{where}: part {part} does not stand in parts.txt; restore the two files.")
    return image, PartLocation(names[part], *point, seen)
