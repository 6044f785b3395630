"""Images that lie in folders of several classes: links to one file, or copies of it."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from episodes.contents import content_of_file

MOST_COMPARED = 20_000
"""Files of one size, of different classes, whose bytes are read for this; of more only links are found."""
LAST = 4096  # bytes of a file that tell most photographs of one size apart


class SeveralClasses(UserWarning):
    """Images of a data set or bank that are the same and have different classes."""


Member = tuple[str, Path]  # class and file


def in_several_classes(files: Mapping[str, Sequence[Path]]) -> list[tuple[Path, Path]]:
    """Return each file, by class as given, that an earlier class has too, with the first one that is the same.

    The same are links of any kind to one file, and files that hold the same bytes. Of files that have their size in
    common with one of another class the end is read, and all of those whose ends are the same; only where the former
    are at most ``MOST_COMPARED``. A file that cannot be read is like no other.
    """
    order = {path: place for place, path in enumerate(path for paths in files.values() for path in paths)}
    at_place: defaultdict[tuple[int, int], list[Member]] = defaultdict(list)
    of_size: defaultdict[int, list[Member]] = defaultdict(list)
    for member in ((name, path) for name, paths in files.items() for path in paths):
        try:
            found = os.stat(member[1])  # noqa: PTH116 - a million files
        except OSError:
            continue
        at_place[found.st_dev, found.st_ino].append(member)
        if len(at_place[found.st_dev, found.st_ino]) == 1:
            of_size[found.st_size].append(member)
    alike = [*at_place.values(), *_same_bytes(of_size)]
    pairs = {later: first for group in alike for later, first in _across_classes(group)}
    return sorted(pairs.items(), key=lambda pair: order[pair[0]])


def _same_bytes(of_size: Mapping[int, Sequence[Member]]) -> Iterator[Sequence[Member]]:
    candidates = [members for size, members in of_size.items() if size and len({name for name, _ in members}) > 1]
    if sum(map(len, candidates)) > MOST_COMPARED:
        return
    for members in candidates:
        for alike in _grouped(members, _end):
            yield from _grouped(alike, content_of_file)


def _grouped(members: Sequence[Member], by: Callable[[Path], object]) -> Iterator[Sequence[Member]]:
    """Yield the members for which a function of their files gives the same, where there are several."""
    found: defaultdict[object, list[Member]] = defaultdict(list)
    for member in members:
        try:
            found[by(member[1])].append(member)
        except OSError:
            continue
    return (group for group in found.values() if len(group) > 1)


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LAST))
        return file.read()


def _across_classes(group: Sequence[Member]) -> Iterator[tuple[Path, Path]]:
    """Yield those of a group that are not of the first one's class, each with the first."""
    name, first = group[0]
    return ((path, first) for other, path in group if other != name)


def several_classes_in_words(count: int, one: str, other: str) -> str:
    """Return the warning: how many images there are, and the first pair."""
    images = "1 image is" if count == 1 else f"{count} images are"
    return (
        f"{images} of several classes, first {one}, which holds the same as {other}; each counts as an image of its "
        "own. Keep one of them, or a decision about it is right for one class and wrong for the other."
    )
