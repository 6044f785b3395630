"""A bank and a data set that grew since: which of its images are new, which the bank has, and which have changed.

An image is told by the place of its file, whatever its spelling; one without a file by what it holds. A photograph that
was replaced is embedded again in its own row; one that was moved keeps its embedding and gets its new path.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from episodes import LabeledImages
from episodes.contents import content_of, place_of


@dataclass
class Grown:
    """What a data set brings to a bank: positions in the data set, and the rows of the bank that they belong to."""

    contents: list[str]  # of every image of the data set
    new: list[int] = field(default_factory=list)
    replaced: list[tuple[int, int]] = field(default_factory=list)  # position, row: another photograph at its place
    moved: list[tuple[int, int]] = field(default_factory=list)  # position, row: the same photograph at another place
    moved_rows: set[int] = field(default_factory=set)
    known: int = 0
    other_labels: int = 0  # known images to which the data set gives another label
    copies: int = 0  # new images with the content of an image that the bank has elsewhere
    of_other_classes: list[tuple[str, str]] = field(default_factory=list)  # of these, the new image and the bank's
    unread: int = 0  # known images of which the bank does not say what they held

    @property
    def embedded(self) -> list[int]:
        """Positions that have to be embedded: new ones, then replaced ones."""
        return [*self.new, *(position for position, _ in self.replaced)]

    @property
    def sentence(self) -> str:
        """What was added and what was left out, in words."""
        parts = [f"{_images(len(self.new))} added"]
        if self.known:
            parts.append(f"{_images(self.known)} left out, because the bank has them")
        if self.replaced:
            parts.append(f"{_images(len(self.replaced))} embedded again, because their files have changed")
        if self.moved:
            parts.append(f"{_images(len(self.moved))} given their new path, because their files were moved")
        more = []
        if self.copies:
            more.append(f"{_images(self.copies)} of those added are copies of others in the bank")
        if self.of_other_classes:
            one, other = self.of_other_classes[0]
            more.append(
                f"{_images(len(self.of_other_classes))} of these have another class there, first {one} and {other}"
            )
        if self.other_labels:
            more.append(f"{_images(self.other_labels)} have another label in the bank, which stays; relabel them there")
        if self.unread:
            more.append(
                f"the bank does not say what {_images(self.unread)} held when they were embedded; "
                "build it again if their files have changed since"
            )
        return ". ".join(part[:1].upper() + part[1:] for part in [", ".join(parts), *more]) + "."


def compared(table: pa.Table, dataset: LabeledImages, labels: Sequence[str | None]) -> Grown:
    """Tell the images of a data set that a bank has from those it has not; nothing is embedded.

    ``table`` has the bank's ids, labels, paths and contents, ``labels`` the data set's.

    Raises: as reading a file does.
    """
    bank = {name: table[name].to_pylist() for name in ("label", "path", "content")}
    at_place: dict[str, list[int]] = {}
    for row, path in enumerate(bank["path"]):
        if path:
            at_place.setdefault(place_of(path), []).append(row)
    with_content = {content: row for row, content in reversed(list(enumerate(bank["content"]))) if content}
    found = Grown([content_of(dataset, position) for position in range(len(dataset))])
    seen: set[str] = set()
    for position, (path, content) in enumerate(zip(dataset.paths, found.contents, strict=True)):
        place = None if path is None else place_of(path)
        if place is not None and (place in seen or place in at_place):
            if place not in seen:
                _at_its_place(found, position, at_place[place], bank, labels[position])
            else:
                found.known += 1
        else:
            _elsewhere(found, position, place, with_content.get(content), bank["path"])
            _note_other_class(found, position, with_content.get(content), bank, labels[position], path)
        if place is not None:
            seen.add(place)
    return found


def _at_its_place(
    found: Grown, position: int, rows: Sequence[int], bank: Mapping[str, list[str | None]], label: str | None
) -> None:
    """Note what became of the photograph at a place that the bank knows."""
    held = {bank["content"][row] for row in rows}
    if held == {found.contents[position]} or held == {None}:
        found.known += 1
        found.unread += held == {None}
    else:
        found.replaced += [(position, row) for row in rows]
    found.other_labels += label is not None and label not in {bank["label"][row] for row in rows}


def _elsewhere(found: Grown, position: int, place: str | None, alike: int | None, paths: Sequence[str | None]) -> None:
    """Note what an image at a place that the bank does not know is: new, without a file and known, moved, or a copy."""
    if alike is not None and place is None and not paths[alike]:
        found.known += 1
    elif alike is not None and place is not None and _is_gone(paths[alike]) and alike not in found.moved_rows:
        found.moved.append((position, alike))
        found.moved_rows.add(alike)
    else:
        found.copies += alike is not None
        found.new.append(position)


def _note_other_class(
    found: Grown,
    position: int,
    alike: int | None,
    bank: Mapping[str, list[str | None]],
    label: str | None,
    path: Path | None,
) -> None:
    """Note a new image that the bank has as one of another class."""
    if alike is None or position not in found.new[-1:] or None in (label, bank["label"][alike]):
        return
    if label != bank["label"][alike]:
        names = (path or f"image {position}", bank["path"][alike] or f"row {alike}")
        found.of_other_classes.append((f"{names[0]} ({label})", f"{names[1]} ({bank['label'][alike]})"))


def _is_gone(path: str | None) -> bool:
    return bool(path) and not os.path.exists(str(path))  # noqa: PTH110 - pathlib raises for a name too long


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
