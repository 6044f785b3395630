"""Which images the rows of a bank are of, where the embeddings' own file does not say so.

NPID's and MoCo's banks hold rows in the order of their training set alone: the ``ImageFolder`` of torchvision, or a
text file with one image a line.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from episodes.errors import MissingFile, Mistake
from episodes.text_files import read_lines

SEPARATORS = ("\t", ",", " ")
WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class ImageList:
    """The path and the label of each row, None where it has no label; ``numbered`` where all labels are numbers."""

    paths: list[str | None]
    labels: list[str | None]
    numbered: bool


def read_image_list(place: str | Path) -> ImageList:
    """Return the images of a class-folder tree in torchvision's order, or of a text file line by line.

    A line is a path, or a path and a label behind a tab, a comma or the last space. Without one, the label is the
    name of the folder that holds the image. Empty lines count for nothing.

    Raises: ``FileNotFoundError`` where there is nothing, ``ValueError`` for a file that is no UTF-8 text or lists
    nothing.
    """
    path = Path(place)
    if not os.path.exists(path):  # noqa: PTH110 - of a name that no file can have it says no, pathlib raises
        raise MissingFile(f"expected a list of images or a folder of class folders, but {path} does not exist.")
    if path.is_dir():
        try:
            return _listed(ImageFolder(str(path)))
        except FileNotFoundError as error:  # torchvision's, for a folder without classes or a class without images
            raise MissingFile(f"expected a folder of class folders with images, but {path} is none: {error}") from error
    lines = read_lines(path, "text file with one image a line")
    pairs = [_split(line.strip()) for line in lines if line.strip()]
    if not pairs:
        raise Mistake(f"expected a text file with one image a line, but {path} lists none.")
    labels = [label for _, label in pairs]
    return ImageList([name for name, _ in pairs], labels, all(label and WHOLE.fullmatch(label) for label in labels))


def _listed(folder: ImageFolder) -> ImageList:
    paths: list[str | None] = [path for path, _ in folder.samples]
    return ImageList(paths, [folder.classes[number] for _, number in folder.samples], numbered=False)


def _split(line: str) -> tuple[str, str | None]:
    """Return the path and the label of a line; where more than one separator stands, the one behind an image's name."""
    parts = [line.rpartition(separator) for separator in SEPARATORS]
    pairs = [(path.strip(), label.strip()) for path, _, label in parts if path.strip() and label.strip()]
    pairs = [(path, label) for path, label in pairs if not _is_image(label) and "/" not in label]
    pairs.sort(key=lambda pair: not _is_image(pair[0]))
    return pairs[0] if pairs else (line, Path(line).parent.name or None)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS)
