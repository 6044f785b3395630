"""Every image below a folder, without labels."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.labeled_image import SUFFIXES, LabeledImage, find_images, read_image

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
        self.paths = tuple(sorted(path for path in self.root.rglob("*") if _is_image(path, self.root)))
        if not self.paths:
            raise ValueError(f"the folder {self.root} holds no PNG, JPEG or WebP image; check the path.")
        self.name = self.root.resolve().name
        self.classes: tuple[str, ...] = ()
        self.labels: Int64[np.ndarray, "image"] = np.full(len(self.paths), UNLABELED, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        path = self.paths[position]
        return LabeledImage(read_image(path), UNLABELED, "", path=path)


def _is_image(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
