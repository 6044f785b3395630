"""What a bank is built from: a data set, or the path of a folder of images."""

import os
from pathlib import Path

from episodes import ImageFiles, ImageFolder, LabeledImages, find_images
from episodes.errors import MissingFile, WrongType


def as_images(source: LabeledImages | str | Path) -> LabeledImages:
    """Return a data set, or the images below a folder: of class folders, or else of images without labels.

    Raises: ``FileNotFoundError`` for a folder that is not there, ``ValueError`` for one without images or for anything
    else.
    """
    if isinstance(source, LabeledImages):
        return source
    if not isinstance(source, str | Path):
        raise WrongType(f"expected a data set or the path of a folder of images, but got a {type(source).__name__}.")
    folder = Path(source)
    if not os.path.isdir(folder):  # noqa: PTH112 - of a name that no folder can have it says no, pathlib raises
        raise MissingFile(f"expected a folder of images, but {source} is none; give its path.")
    return ImageFiles(folder) if find_images(folder) else ImageFolder(folder)
