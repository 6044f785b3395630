"""Which classes a model may be trained on, chosen with, and judged by."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.errors import MissingFile, Mistake, UnknownName
from episodes.labeled_image import LabeledImage, LabeledImages
from episodes.naming import nearest, unknown_name
from episodes.text_files import read_rows, read_table

BUILT_IN = Path(__file__).with_name("splits")
PARTS = ("base", "validation", "novel")


@dataclass(frozen=True)
class Split:
    """Class names of the three parts, which share no class.

    ``name`` is what the split is called, of one that was read its file's name without the ending. ``base`` are the
    classes to learn from, ``validation`` those to choose settings by, ``novel`` those that episodes ask about.

    Raises:
        ValueError: a class stands twice.
    """

    name: str
    base: tuple[str, ...]
    validation: tuple[str, ...]
    novel: tuple[str, ...]

    def __post_init__(self) -> None:
        part_of: dict[str, str] = {}
        for part in PARTS:
            for class_name in self.classes(part):
                if class_name in part_of:
                    raise Mistake(
                        f"split {self.name}: class {class_name!r} stands in {part_of[class_name]} and in {part}; "
                        "every class belongs in one part, once. Remove one of the two."
                    )
                part_of[class_name] = part

    @classmethod
    def load(cls, name_or_path: str | Path) -> "Split":
        """Read a built-in split by name, or a CSV file with the columns class and part by path.

        Classes are sorted, so that the order of the lines changes nothing.

        Raises:
            LookupError: there is no built-in split of that name.
            FileNotFoundError: there is no such file.
            ValueError: the file has other columns, an unknown part, or a class twice.
        """
        path = Path(name_or_path)
        if path.suffix == ".csv":
            return _read(path)
        built_in = {file.stem: file for file in sorted(BUILT_IN.glob("*.csv"))}
        if str(name_or_path) not in built_in:
            raise unknown_name("split", str(name_or_path), [*built_in, "a path that ends in .csv"])
        return _read(built_in[str(name_or_path)])

    def classes(self, part: str) -> tuple[str, ...]:
        """Return the classes of one part: base, validation or novel.

        Raises:
            LookupError: there is no such part.
        """
        parts = {"base": self.base, "validation": self.validation, "novel": self.novel}
        if part not in parts:
            raise unknown_name("part of a split", part, PARTS)
        return parts[part]

    @property
    def sha256(self) -> str:
        """Hash of the sorted lines ``class,part``: the same for every file that splits the classes alike."""
        lines = sorted(f"{class_name},{part}" for part in PARTS for class_name in self.classes(part))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _SelectedImages:
    """Some classes of a data set, relabeled from 0."""

    def __init__(self, dataset: LabeledImages, classes: tuple[str, ...]) -> None:
        old_labels = [dataset.classes.index(class_name) for class_name in classes]
        relabeled = np.full(len(dataset.classes), -1, dtype=np.int64)
        relabeled[old_labels] = np.arange(len(classes))
        new_labels = relabeled[dataset.labels]
        self._dataset = dataset
        self._positions = np.flatnonzero(new_labels >= 0)
        self.name = dataset.name
        self.classes = classes
        self.labels: Int64[np.ndarray, "image"] = new_labels[self._positions]
        self.paths = tuple(dataset.paths[position] for position in self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        return replace(self._dataset[int(self._positions[position])], label=int(self.labels[position]))


def select(dataset: LabeledImages, classes: Sequence[str]) -> LabeledImages:
    """Return the images of some classes, in the data set's order; the i-th of ``classes`` gets label i.

    Raises:
        LookupError: the data set lacks a class.
        ValueError: a class is named twice, or none is.
    """
    wanted = tuple(classes)
    missing = [class_name for class_name in wanted if class_name not in dataset.classes]
    if len(missing) == 1:
        raise unknown_name(f"class of {dataset.name}", missing[0], dataset.classes)
    if missing:
        near = nearest(missing[0], dataset.classes)
        hint = f" Nearest to the first: {near!r}." if near else ""
        raise UnknownName(f"{dataset.name} lacks {len(missing)} of {len(wanted)} classes: {_some(missing)}.{hint}")
    repeated = sorted({class_name for class_name in wanted if wanted.count(class_name) > 1})
    if repeated or not wanted:
        fault = f"{_some(repeated)} twice" if repeated else "none"
        raise Mistake(f"expected every class once, but got {fault}; name each class that you want once.")
    return _SelectedImages(dataset, wanted)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _read(path: Path) -> Split:
    if not path.is_file():
        raise MissingFile(f"the split file {path} does not exist; check the path.")
    _, heading = next(read_rows(path), (0, []))
    if sorted(heading) != ["class", "part"]:
        raise Mistake(f"{path} should have the columns class and part, but has {heading or 'none'}.")
    rows = []
    for line, row in read_table(path, ("class", "part")):
        class_name, part = row["class"], row["part"] or None
        if part not in PARTS:
            raise Mistake(
                f"{path}, line {line}: class {class_name!r} has the part {part!r}; write base, validation or novel."
            )
        rows.append((class_name, part))
    base, validation, novel = (tuple(sorted(name for name, part in rows if part == which)) for which in PARTS)
    return Split(path.stem, base, validation, novel)
