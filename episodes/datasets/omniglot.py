"""Omniglot: handwritten characters of 50 alphabets (Lake et al., 2015)."""

from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Int64

from episodes.datasets.class_folders import class_folders, images_by_class
from episodes.errors import MissingFile
from episodes.labeled_image import LabeledImage, read_image
from episodes.naming import unknown_name

PARTS = {"background": "images_background", "evaluation": "images_evaluation"}
TURNS = {
    0: None,
    90: PIL.Image.Transpose.ROTATE_90,
    180: PIL.Image.Transpose.ROTATE_180,
    270: PIL.Image.Transpose.ROTATE_270,
}


class Omniglot:
    """Images of 105 × 105 pixels, black on white, 20 a character; class names are ``Greek/character01``.

    The layout is that of torchvision's ``Omniglot``: ``images_background`` and
    ``images_evaluation`` in ``root/omniglot-py`` or in the root, then ``<alphabet>/<character>/<image>.png``.
    With ``rotations`` every character turned counterclockwise by 90°, 180° and 270° is a class of its own
    (``Greek/character01 turned 90°``), so that the classes become four times as many; an image then
    stands there four times.

    Raises:
        FileNotFoundError: no part is there, or the one that is asked for is not.
        LookupError: unknown part.
        ValueError: an alphabet or character folder is empty.
    """

    def __init__(self, root: str | Path, part: str | None = None, *, rotations: bool = False) -> None:
        if part is not None and part not in PARTS:
            raise unknown_name("part of Omniglot", part, PARTS)
        characters = {
            f"{alphabet.name}/{character}": files
            for folder in _part_folders(Path(root), part)
            for alphabet in class_folders(folder)
            for character, files in images_by_class(alphabet).items()
        }
        turns = tuple(TURNS) if rotations else (0,)
        listed = [(path, name, turn) for turn in turns for name, files in sorted(characters.items()) for path in files]
        self.name: str = "omniglot" if part is None else f"omniglot {part}"
        self.classes: tuple[str, ...] = tuple(_class_name(name, turn) for turn in turns for name in sorted(characters))
        label_of = {class_name: label for label, class_name in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array(
            [label_of[_class_name(name, turn)] for _, name, turn in listed], np.int64
        )
        self.paths: tuple[Path, ...] = tuple(path for path, _, _ in listed)
        self._turns = [TURNS[turn] for _, _, turn in listed]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, turn, label = self.paths[position], self._turns[position], int(self.labels[position])
        upright = read_image(path)
        image = upright if turn is None else upright.transpose(turn)
        return LabeledImage(image, label, self.classes[label], path=path)


def _class_name(name: str, turn: int) -> str:
    return f"{name} turned {turn}°" if turn else name


def _part_folders(root: Path, part: str | None) -> list[Path]:
    home = root / "omniglot-py" if (root / "omniglot-py").is_dir() else root
    wanted = list(PARTS.values()) if part is None else [PARTS[part]]
    found = [home / name for name in wanted if (home / name).is_dir()]
    if not found:
        raise MissingFile(f"expected {' or '.join(wanted)} in {home}, but found none of them; check the path.")
    return found
