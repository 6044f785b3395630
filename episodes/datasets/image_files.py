"""Every image below a folder, without labels."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.errors import Mistake
from episodes.labeled_image import LabeledImage, find_images, read_image

UNLABELED = -1


class ImageFiles:
    """The PNG, JPEG and WebP files below a folder, however deep, sorted by path; none has a label.

    ``classes`` is empty and every label is -1. Hidden files and folders are skipped, and so are links to folders.

    Raises:
        FileNotFoundError: the root does not exist.
        ValueError: the root is a file, or there is no image below it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        find_images(self.root)
        self.paths = tuple(sorted(_images_below(self.root)))
        if not self.paths:
            raise Mistake(f"the folder {self.root} holds no PNG, JPEG or WebP image; check the path.")
        self.name = self.root.resolve().name
        self.classes: tuple[str, ...] = ()
        self.labels: Int64[np.ndarray, "image"] = np.full(len(self.paths), UNLABELED, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        path = self.paths[position]
        return LabeledImage(read_image(path), UNLABELED, "", path=path)


def _images_below(root: Path) -> Iterator[Path]:
    for folder, inner, _ in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from find_images(folder)
