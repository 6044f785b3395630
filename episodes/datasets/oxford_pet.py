"""Oxford-IIIT Pet in its official layout (Parkhi et al., 2012)."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torchvision import tv_tensors

from episodes.annotation import checked_boxes, mask_box
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, decoded, read_image
from episodes.naming import unknown_name
from episodes.text_files import read_lines

PET, BACKGROUND, BORDER = 1, 2, 3
BORDERS = {"object": (PET, BORDER), "background": (PET,)}


class OxfordPet:
    """Photographs of cats and dogs with a mask each; classes are the breeds, in the order of the official ids.

    The images are those of ``annotations/list.txt``, in its order. The mask comes from the trimap,
    whose uncertain border counts as ``border`` says: as ``"object"`` or as ``"background"``. The
    box is the tight box of the mask (the head boxes of ``annotations/xmls`` are not read); an image
    whose trimap shows no pet has none.

    Raises:
        FileNotFoundError: the root or its list does not exist.
        LookupError: ``border`` is neither of the two.
        ValueError: a line of the list cannot be read, or one class id has two breeds.
    """

    def __init__(self, root: str | Path, *, border: str = "object") -> None:
        if border not in BORDERS:
            raise unknown_name("reading of the border", border, BORDERS)
        self.root: Path = Path(root)
        self.name = "oxford-iiit-pet"
        stems, class_ids, breed_of = _listed(self.root / "annotations" / "list.txt")
        label_of = {class_id: label for label, class_id in enumerate(sorted(breed_of))}
        self.classes: tuple[str, ...] = tuple(breed_of[class_id] for class_id in label_of)
        self.labels: Int64[np.ndarray, "image"] = np.array([label_of[class_id] for class_id in class_ids], np.int64)
        self.paths: tuple[Path, ...] = tuple(self.root / "images" / f"{stem}.jpg" for stem in stems)
        self._on_object = BORDERS[border]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        image = read_image(path, upright=False)
        trimap = self.root / "annotations" / "trimaps" / f"{path.stem}.png"
        mask = _mask(trimap, (image.height, image.width), self._on_object)
        boxes = checked_boxes(mask_box(mask[None]), (image.height, image.width), str(trimap)) if mask.any() else None
        return LabeledImage(image, label, self.classes[label], boxes, tv_tensors.Mask(mask), path)


def _listed(path: Path) -> tuple[list[str], list[int], dict[int, str]]:
    """Return the file stem and the class id of each image, and the breed of each class id."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist; expected Oxford-IIIT Pet's official layout.")
    stems: list[str] = []
    class_ids: list[int] = []
    breed_of: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if line.startswith("#"):
            continue
        stem, *numbers = line.split() or [""]
        if len(numbers) != 3 or not numbers[0].isdecimal() or "_" not in stem:
            raise Mistake(f"{path}, line {number}: expected 'image class-id species breed-id', got {line!r}.")
        class_id, breed = int(numbers[0]), stem.rpartition("_")[0]
        if breed_of.setdefault(class_id, breed) != breed:
            raise Mistake(
                f"{path}, line {number}: class {class_id} is {breed!r} here and {breed_of[class_id]!r} above; "
                "give every breed its own class id."
            )
        stems.append(stem)
        class_ids.append(class_id)
    if not stems:
        raise Mistake(f"{path} lists no image; restore the file.")
    return stems, class_ids, breed_of


def _mask(trimap: Path, image_size: tuple[int, int], on_object: tuple[int, ...]) -> Bool[torch.Tensor, "height width"]:
    levels = np.asarray(decoded(trimap))
    if levels.shape != image_size:
        height, width = image_size
        raise Mistake(
            f"the trimap {trimap} has the shape {levels.shape}, but its image has {width}x{height} pixels; "
            "restore the two files."
        )
    present = np.flatnonzero(np.bincount(levels.ravel().astype(np.int64)))
    strange = np.setdiff1d(present, (PET, BACKGROUND, BORDER))
    if strange.size:
        raise Mistake(
            f"the trimap {trimap} holds the value {strange[0]}; expected 1 (pet), 2 (background) and 3 (border)."
        )
    return torch.from_numpy(np.isin(levels, on_object))
