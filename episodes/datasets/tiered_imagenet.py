"""tieredImageNet (Ren et al., 2018) as folders."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.datasets.few_shot_parts import PARTS, chosen_parts, images_of_folders
from episodes.labeled_image import LabeledImage, read_image


class TieredImageNet:
    """The photographs ``root/<train|val|test>/<WordNet id>/``, without boxes; class names are the WordNet ids.

    Parts that are not there are left out, unless ``part`` asks for one. On the full data there are
    608 classes and 779,165 photographs.

    Raises:
        FileNotFoundError: none of the part folders is there, or the one that is asked for is not.
        LookupError: unknown part.
        ValueError: a class folder is empty, or a class stands in two parts.
    """

    def __init__(self, root: str | Path, part: str | None = None) -> None:
        folder = Path(root)
        present = [name for name in PARTS if (folder / name).is_dir()]
        chosen = chosen_parts(part, present, f"the folders {', '.join(PARTS if part is None else (part,))} in {folder}")
        listed = images_of_folders(folder, chosen)
        self.name: str = "tiered-imagenet" if part is None else f"tiered-imagenet {part}"
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
