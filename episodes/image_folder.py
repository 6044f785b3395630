"""A folder of class folders of images."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from episodes.labeled_image import LabeledImage, find_images, read_image


class ImageFolder:
    """The images ``root/<class>/<image>``, without boxes or masks, sorted by class and then by file name.

    Hidden files and folders are skipped, and so is a link that leads back to the root or above it.

    Raises:
        FileNotFoundError: the root does not exist.
        ValueError: the root holds no class folder, or a class folder holds no image.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        files = {folder.name: find_images(folder) for folder in _class_folders(self.root)}
        for class_name, images in files.items():
            if not images:
                raise ValueError(
                    f"the class folder {self.root / class_name} holds no PNG, JPEG or WebP image; "
                    "add some or remove the folder."
                )
        self.name = self.root.resolve().name
        self.classes = tuple(files)
        self.paths = tuple(path for images in files.values() for path in images)
        counts = [len(images) for images in files.values()]
        self.labels: Int64[np.ndarray, "image"] = np.repeat(np.arange(len(counts), dtype=np.int64), counts)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        path, label = self.paths[position], int(self.labels[position])
        return LabeledImage(read_image(path), label, self.classes[label], path=path)


def _class_folders(root: Path) -> list[Path]:
    if not root.exists():
        raise FileNotFoundError(f"the image folder {root} does not exist; check the path.")
    if not root.is_dir():
        raise ValueError(f"expected a folder of class folders, but {root} is a file; give the folder that holds them.")
    here = root.resolve()
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [folder for folder in folders if not here.is_relative_to(folder.resolve())]
    if not folders:
        raise ValueError(f"{root} holds no class folder; expected {root.name}/<class>/<image>.")
    return folders
