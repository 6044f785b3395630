"""A folder of class folders of images."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.datasets.class_folders import images_by_class, repeated_labels
from episodes.labeled_image import LabeledImage, read_image


class ImageFolder:
    """The images ``root/<class>/<image>``, without boxes or masks, sorted by class and then by path.

    The class is the first folder below the root, however deep an image lies in it. Hidden files and folders are
    skipped, and so is a link that leads back to the root or above it. Files that are no image are left out, and so are
    images beside the class folders; one warning counts and names them, others say where no image lies directly in a
    class folder, or how many images lie in several classes, as links or copies.

    Raises:
        FileNotFoundError: the root does not exist.
        ValueError: the root holds no class folder, or a class folder holds no image.
    """

    def __init__(self, root: str | Path) -> None:
        self.root: Path = Path(root)
        files = images_by_class(self.root)
        self.name: str = self.root.resolve().name
        self.classes: tuple[str, ...] = tuple(files)
        self.paths: tuple[Path, ...] = tuple(path for images in files.values() for path in images)
        self.labels: Int64[np.ndarray, "image"] = repeated_labels(len(images) for images in files.values())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        return LabeledImage(read_image(path), label, self.classes[label], path=path)
