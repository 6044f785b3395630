"""Every image below a folder, without labels."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.decoding import ALSO
from episodes.errors import Mistake
from episodes.found_images import images_below, say_left_out
from episodes.labeled_image import LabeledImage, read_image

UNLABELED = -1


class ImageFiles:
    """The image files below a folder, however deep, sorted by path; none has a label.

    ``classes`` is empty and every label is -1. Hidden files and folders are skipped. Files that are no image (but for
    texts and tables) and links to other folders are left out; one warning counts and names them.

    Raises:
        FileNotFoundError: the root does not exist.
        ValueError: the root is a file, or there is no image below it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root: Path = Path(root)
        found = images_below(self.root)
        self.paths: tuple[Path, ...] = tuple(found.images)
        if not self.paths:
            raise Mistake(f"the folder {self.root} holds no PNG, JPEG or WebP image; check the path {ALSO}.")
        say_left_out(self.root, found.left_out)
        self.name: str = self.root.resolve().name
        self.classes: tuple[str, ...] = ()
        self.labels: Int64[np.ndarray, "image"] = np.full(len(self.paths), UNLABELED, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path = self.paths[position]
        return LabeledImage(read_image(path), UNLABELED, "", path=path)
