"""Files of a data set that cannot be opened as images, found by their headers alone."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from episodes import LabeledImages
from episodes.decoding import check_header
from episodes.errors import Mistake
from episodes.found_images import listed

MOST = 10_000  # files that are opened; of more, so many at equal distances, as data sets list class after class


@dataclass(frozen=True)
class OpenedHeaders:
    """Which images of a data set count, and a sentence about the others; "" where all that were opened do."""

    counts: Bool[np.ndarray, "image"]
    sentence: str


def opened_headers(dataset: LabeledImages, folder: Path, most: int = MOST) -> OpenedHeaders:
    """Open the files of a data set, decode none, and say which are no images; of more than ``most`` a sample."""
    total = len(dataset)
    sample = np.arange(min(total, most)) * total // max(1, min(total, most))
    counts, wrong = np.ones(total, dtype=bool), list[str]()
    for position in sample.tolist():
        path = dataset.paths[position]
        try:
            if path is not None:
                check_header(path)
        except Mistake:
            counts[position] = False
            wrong.append(_below(path, folder))
    return OpenedHeaders(counts, _sentence(wrong, len(sample), total))


def _below(path: Path | None, folder: Path) -> str:
    try:
        return os.path.relpath(path or "", folder)
    except ValueError:  # on another drive
        return str(path)


def _sentence(wrong: Sequence[str], opened: int, total: int) -> str:
    """Say how many of the files that were opened are no images, which come first, and how many were not opened."""
    unseen = "" if opened == total else f" The other {total - opened:,} files were not opened."
    if not wrong:
        return unseen and f"{opened:,} of {total:,} files were opened, and all of them are images.{unseen}"
    verb = "cannot be opened as an image and is" if len(wrong) == 1 else "cannot be opened as images and are"
    return f"{len(wrong):,} of {opened:,} files {verb} not counted: {listed(wrong)}.{unseen}"
