"""Folders of classes: which there are, and the image files that lie in each."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import find_images


def class_folders(root: Path) -> list[Path]:
    """Return the folders that lie directly in ``root``, sorted by name.

    Hidden ones are skipped, and so is a link that leads back to the root or above it.

    Raises:
        FileNotFoundError: the root does not exist.
        ValueError: the root is a file, or holds no folder.
    """
    if not root.exists():
        raise MissingFile(f"the image folder {root} does not exist; check the path.")
    if not root.is_dir():
        raise Mistake(f"expected a folder of class folders, but {root} is a file; give the folder that holds them.")
    here = root.resolve()
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [folder for folder in folders if not here.is_relative_to(folder.resolve())]
    if not folders:
        raise Mistake(f"{root} holds no class folder; expected {root.name}/<class>/<image>.")
    return folders


def images_by_class(root: Path) -> dict[str, list[Path]]:
    """Return the image files of ``root/<class>``, classes and files sorted by name.

    Raises: as ``class_folders``, and ``ValueError`` for a class folder without any image.
    """
    files = {folder.name: find_images(folder) for folder in class_folders(root)}
    for class_name, images in files.items():
        if not images:
            raise Mistake(
                f"the class folder {root / class_name} holds no PNG, JPEG or WebP image; add some or remove the folder."
            )
    return files


def repeated_labels(counts: Iterable[int]) -> Int64[np.ndarray, "image"]:
    """Return label i as often as class i has images, class after class."""
    sizes = list(counts)
    return np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
