"""miniImageNet (Vinyals et al., 2016) with the split of Ravi and Larochelle (2017)."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.datasets.few_shot_parts import PARTS, Listed, chosen_parts, images_of_folders, images_of_tables
from episodes.labeled_image import LabeledImage, read_image


class MiniImageNet:
    """Photographs of 100 ImageNet classes, without boxes; class names are the WordNet ids (``n01532829``).

    Two layouts are read: the tables ``train.csv``, ``val.csv`` and ``test.csv`` (columns filename and
    label) beside the folder ``images``; without any table the folders ``train``, ``val`` and
    ``test`` of class folders. Parts that are not there are left out, unless ``part`` asks for one.

    Raises:
        FileNotFoundError: there is neither a table nor a part folder, or the part is missing.
        LookupError: unknown part, or a table lacks a column.
        ValueError: a table or class folder is empty or wrong, or a class stands in two parts.
    """

    def __init__(self, root: str | Path, part: str | None = None) -> None:
        listed = _listed(Path(root), part)
        self.name: str = "mini-imagenet" if part is None else f"mini-imagenet {part}"
        self.classes: tuple[str, ...] = tuple(sorted({class_name for _, class_name in listed}))
        label_of = {class_name: label for label, class_name in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array([label_of[class_name] for _, class_name in listed], np.int64)
        self.paths: tuple[Path, ...] = tuple(path for path, _ in listed)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        return LabeledImage(read_image(path), label, self.classes[label], path=path)


def _listed(root: Path, part: str | None) -> Listed:
    tables = [name for name in PARTS if (root / f"{name}.csv").is_file()]
    if tables:
        chosen = chosen_parts(part, tables, f"the table {root / f'{part}.csv'}")
        return images_of_tables(root, chosen, root / "images")
    folders = [name for name in PARTS if (root / name).is_dir()]
    expected = f"train.csv, val.csv and test.csv, or the folders train, val and test, in {root}"
    return images_of_folders(root, chosen_parts(part, folders, expected))
