"""Folders of classes: which there are, and the image files that lie in each."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.decoding import ALSO
from episodes.errors import MissingFile, Mistake
from episodes.found_images import find_images, images_below, listed, say_left_out
from episodes.several_classes import SeveralClasses, in_several_classes, several_classes_in_words


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
    """Return the image files below ``root/<class>``, however deep, classes and files sorted by path.

    What is left out is said in one warning, and what may be a wrong class in others.

    Raises: as ``class_folders``, and ``ValueError`` for a class folder without any image.
    """
    found = {folder.name: images_below(folder) for folder in class_folders(root)}
    files = {class_name: below.images for class_name, below in found.items()}
    for class_name, images in files.items():
        if not images:
            raise Mistake(
                f"the class folder {root / class_name} holds no PNG, JPEG or WebP image; "
                f"add some or remove the folder {ALSO}."
            )
    say_left_out(root, [*find_images(root), *(path for below in found.values() for path in below.left_out)])
    _say_doubts(root, files)
    return files


def _say_doubts(root: Path, files: Mapping[str, Sequence[Path]]) -> None:
    """Warn where the class may be another: no image lies directly in the folder, or some lie in several classes."""
    deep = [name for name, images in files.items() if all(image.parent != root / name for image in images)]
    if deep:
        warnings.warn(
            f"no image lies directly in {listed([str(root / name) for name in deep])}; the class is the first folder "
            f"below {root}. Give a folder further down if the class is another.",
            stacklevel=4,
        )
    doubled = in_several_classes(files)
    if doubled:
        one, other = (str(path.relative_to(root)) for path in doubled[0])
        warnings.warn(several_classes_in_words(len(doubled), one, other), SeveralClasses, stacklevel=4)


def repeated_labels(counts: Iterable[int]) -> Int64[np.ndarray, "image"]:
    """Return label i as often as class i has images, class after class."""
    sizes = list(counts)
    return np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
