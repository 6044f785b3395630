"""Reading many images: all broken ones are named together, or left out and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Int64

from episodes.errors import Mistake
from episodes.labeled_image import LabeledImage, LabeledImages, read_image

NAMED = 20


@dataclass(frozen=True)
class Readable:
    """The images of a data set that can be read, and what is wrong with the others.

    ``images`` is the data set itself where none is broken; ``broken`` has one sentence per image that is left out.
    """

    images: LabeledImages
    broken: tuple[str, ...]


def readable(dataset: LabeledImages) -> Readable:
    """Read every image of a data set once and leave out the broken ones, in order.

    Raises: ``ValueError`` where none can be read.
    """
    broken = _broken(dataset, range(len(dataset)))
    if not broken:
        return Readable(dataset, ())
    kept = [position for position in range(len(dataset)) if position not in broken]
    if not kept:
        raise together(tuple(broken.values()), len(dataset))
    return Readable(_Kept(dataset, kept), tuple(broken.values()))


def whole_of(dataset: LabeledImages) -> LabeledImages:
    """Return the data set that ``readable`` left broken images out of, or the given one."""
    return dataset.whole if isinstance(dataset, _Kept) else dataset


def all_broken(dataset: LabeledImages, error: Mistake) -> Mistake:
    """Return one mistake that names every image of a data set that cannot be read; ``error`` where none or one is."""
    broken = tuple(_broken(dataset, range(len(dataset))).values())
    return together(broken, len(dataset)) if len(broken) > 1 else error


def read_images(
    paths: Sequence[str | Path], *, skip_broken: bool = False
) -> tuple[list[tuple[Path, PIL.Image.Image]], tuple[str, ...]]:
    """Read image files as ``read_image`` does; return each with its path, and a sentence for each that is left out.

    Raises: ``ValueError`` that names all broken files together, unless they are to be skipped and others are left.
    """
    read, broken = [], []
    for path in paths:
        try:
            read.append((Path(path), read_image(path)))
        except Mistake as error:
            broken.append(str(error))
    if broken and (not skip_broken or not read):
        raise together(tuple(broken), len(paths))
    return read, tuple(broken)


def together(broken: tuple[str, ...], total: int) -> Mistake:
    """Return one mistake of all broken images of ``total``; of one, its own sentence."""
    if len(broken) == 1:
        return Mistake(broken[0])
    more = f" And {len(broken) - NAMED} more." if len(broken) > NAMED else ""
    sentences = " ".join(f"({number}) {sentence}" for number, sentence in enumerate(broken[:NAMED], start=1))
    return Mistake(f"{len(broken)} of {total} images cannot be read; fix, drop or skip them: {sentences}{more}")


class _Kept:
    """The images of a data set at some positions."""

    def __init__(self, dataset: LabeledImages, kept: Sequence[int]) -> None:
        self.whole, self._kept = dataset, kept
        self.name, self.classes = dataset.name, dataset.classes
        self.labels: Int64[np.ndarray, "image"] = dataset.labels[np.asarray(kept, dtype=np.int64)]
        self.paths = tuple(dataset.paths[position] for position in kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        return self.whole[self._kept[position]]


def _broken(dataset: LabeledImages, positions: range) -> dict[int, str]:
    broken = {}
    for position in positions:
        try:
            dataset[position]
        except Mistake as error:
            broken[position] = str(error)
    return broken
