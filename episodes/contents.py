"""What an image holds: the SHA-256 of its file, or of its pixels where it has no file; nothing is decoded for it.

What is resumed or appended compares it, so that a photograph that was replaced is not taken for the old one.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import PIL.Image

from episodes.labeled_image import LabeledImages

DIGITS = 32  # of the SHA-256, in hex: 128 bits tell any number of photographs apart


def content_of(dataset: LabeledImages, position: int) -> str:
    """Return 32 hex digits that stand for the bytes of an image's file, or for its pixels where it has none.

    Raises: as reading the image does.
    """
    path = dataset.paths[position]
    if path is not None and Path(path).is_file():
        return content_of_file(Path(path))
    return _content_of_pixels(dataset[position].image)


def content_of_file(path: Path) -> str:
    """Return 32 hex digits of the SHA-256 of a file's bytes. Raises: ``OSError`` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def contents_of(dataset: LabeledImages, positions: Iterable[int]) -> list[str]:
    """Return what the images at these positions hold."""
    return [content_of(dataset, position) for position in positions]


def place_of(path: str | Path) -> str:
    """Return the one spelling of a file's place: absolute, and without links or dots on the way.

    A text that no file can have as its path stays as it is.
    """
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def _content_of_pixels(image: PIL.Image.Image) -> str:
    digest = hashlib.sha256(f"{image.mode} {image.size} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:DIGITS]
