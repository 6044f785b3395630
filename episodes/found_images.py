"""Which files of a folder are images, and what is said of those that are left out."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from episodes.errors import MissingFile, Mistake
from episodes.files import open_regular

SUFFIXES = frozenset(
    [
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".mpo", ".webp", ".bmp", ".dib", ".gif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
    ]
)
BEGINNINGS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\xff\x4f\xff\x51"),
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
COMPANIONS = frozenset(
    [
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".toml", ".yaml", ".yml", ".md", ".html", ".log", ".db"),
        *(".ini", ".mat", ".npy", ".npz", ".pt", ".parquet", ".safetensors", ".py", ".sha256", ".md5"),
    ]
)
NAMED = 5


def find_images(folder: str | Path) -> list[Path]:
    """Return the image files that lie directly in a folder, sorted by name; hidden files are skipped.

    An ending in any case tells an image (.png, .jpg, .webp, .bmp, .gif, .tif, .ppm, .avif, .jp2 and their variants);
    a file without an ending is one if it begins like one.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the path is not a folder.
    """
    place = expect_folder(folder)
    with os.scandir(place) as entries:
        # An entry knows its kind: a million files are listed without asking for each of them.
        names = sorted(entry.name for entry in entries if not _hidden(entry.name) and _is_image(entry))
    return [place / name for name in names]


@dataclass
class Found:
    """The images below a folder, sorted by path, and the files and linked folders that are none.

    Texts, tables and other usual companions of images are not among ``left_out``.
    """

    images: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def images_below(folder: str | Path) -> Found:
    """Return the images below a folder, however deep. Hidden files and folders are skipped, links to folders left out.

    Raises: as ``find_images``.
    """
    found = Found()
    place = expect_folder(folder)
    for entry in _entries_below(place):
        if _is_image(entry):
            found.images.append(Path(entry.path))
        elif not _is_companion(entry, place):
            found.left_out.append(Path(entry.path))
    found.images.sort()
    found.left_out.sort()
    return found


def expect_folder(folder: str | Path) -> Path:
    """Return the path of a folder. Raises: ``FileNotFoundError`` or ``ValueError`` where it is none."""
    place = Path(folder)
    if not place.exists():
        raise MissingFile(f"the folder {place} does not exist; check the path.")
    if not place.is_dir():
        raise Mistake(f"expected a folder of images, but {place} is a file; give the folder that holds it.")
    return place


def say_left_out(root: Path, left_out: Iterable[Path]) -> None:
    """Warn once of all files that were left out below a folder: how many there are, and which come first."""
    names = [str(path.relative_to(root)) for path in left_out]
    if names:
        warnings.warn(
            f"left out {len(names)} file{'s' * (len(names) > 1)} below {root} that {'are' if len(names) > 1 else 'is'} "
            f"not read as images: {listed(names)}. Convert or remove them.",
            stacklevel=4,
        )


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """Return the first names in words, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _entries_below(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries_below(Path(entry.path))
            else:
                yield entry


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _is_image(entry: "os.DirEntry[str]") -> bool:
    """Return whether a file is an image by its ending, in any case, or without an ending by how it begins."""
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a million names
    return (ending in SUFFIXES or not ending) and _is_file(entry) and (bool(ending) or _begins_like_one(entry.path))


def _is_companion(entry: "os.DirEntry[str]", root: Path) -> bool:
    """Return whether no one expects an image there: a text or table, or a link back to where one comes from."""
    if os.path.splitext(entry.name)[1].lower() in COMPANIONS:  # noqa: PTH122 - a million names
        return True
    return entry.is_symlink() and entry.is_dir() and root.resolve().is_relative_to(Path(entry.path).resolve())


def _is_file(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_file())


def _begins_like_one(path: str) -> bool:
    try:
        with open_regular(path, what="image") as stream:
            start = stream.read(16)
    except (Mistake, OSError):
        return False
    return (
        start.startswith(BEGINNINGS)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or start[4:12] in (b"ftypavif", b"ftypavis")
        or (start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace())
    )
