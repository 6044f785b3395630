"""Where the pixels of a preprocessed image lie in its photograph, so that a map can be laid back on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import PIL.Image
import torch
import torch.nn.functional as F
import torchvision.transforms as v1
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms import v2

from episodes.errors import Mistake
from episodes.resizing import steps_of
from episodes.transforms import BlueGreenRed

PIXEL_WISE: tuple[type, ...] = (
    v2.ToImage,
    v2.ToDtype,
    v2.Normalize,
    v2.PILToTensor,
    v2.ToTensor,
    v2.ConvertImageDtype,
    v2.RGB,
)
PIXEL_WISE_V1: tuple[type, ...] = (v1.ToTensor, v1.PILToTensor, v1.Normalize, v1.ConvertImageDtype)


@dataclass(frozen=True)
class Geometry:
    """How a photograph becomes what a network sees: resized, then cut to its central part.

    ``resize`` is (height, width), or one number, the shorter side with the aspect ratio kept; ``crop`` is (height,
    width), or None where nothing is cut away.
    """

    resize: tuple[int, ...]
    crop: tuple[int, int] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """The geometry as plain values."""
        return {"resize": list(self.resize), "crop": None if self.crop is None else list(self.crop)}

    @staticmethod
    def of_plain(values: Mapping[str, Any]) -> "Geometry":
        """Return the geometry of plain values."""
        crop = values["crop"]
        return Geometry(tuple(values["resize"]), None if crop is None else (crop[0], crop[1]))

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of a photograph of that size after resizing, before anything is cut away."""
        if len(self.resize) == 2:
            return self.resize[0], self.resize[1]
        height, width = size
        short, side = min(size), self.resize[0]
        return int(side * height / short), int(side * width / short)

    def back(self, saliency: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "height width"]:
        """Return a map at the pixels of a photograph of ``size`` (height, width), NaN where it was cut away.

        Values are interpolated bilinearly and keep their sign and their unit.

        Raises: ``ValueError`` for a map of another size than the images of this geometry.
        """
        resized = self.resized(size)
        seen = resized if self.crop is None else self.crop
        if seen != tuple(saliency.shape):
            raise Mistake(
                f"expected a map of {seen[0]}×{seen[1]} pixels, as this preprocessing makes images, but got one of "
                f"{saliency.shape[0]}×{saliency.shape[1]}; give the resize= and crop= that its image went through."
            )
        (rows, tall), (columns, wide) = (_places(size[i], resized[i], seen[i]) for i in (0, 1))
        grid = torch.stack(torch.broadcast_tensors(columns[None], rows[:, None]), dim=-1)[None].to(saliency)
        found = F.grid_sample(saliency[None, None], grid, "bilinear", "border", align_corners=False)[0, 0]
        kept = (tall[:, None] & wide[None]).to(found.device)
        return found.masked_fill(~kept, torch.nan)


def geometry_of(transform: object) -> Geometry | None:
    """Read the geometry of a torchvision transform; None for one that does more than resize and cut the center."""
    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    for step in steps_of(transform):
        if isinstance(step, v2.Resize | v1.Resize) and resize is None and crop is None and step.max_size is None:
            resize = tuple(step.size) if isinstance(step.size, list | tuple) else (step.size,)
        elif isinstance(step, v2.CenterCrop | v1.CenterCrop) and resize is not None and crop is None:
            crop = (step.size[0], step.size[1])
        elif not isinstance(step, (*PIXEL_WISE, *PIXEL_WISE_V1, BlueGreenRed)) and not _keeps_places(step):
            return None
    return None if resize is None else Geometry(resize, crop)


def geometry_of_sizes(resize: int | tuple[int, int], crop: int | tuple[int, int] | None = None) -> Geometry:
    """Return the geometry of a resizing, to a shorter side or (height, width), and of a central cut."""
    square = (crop, crop) if isinstance(crop, int) else crop
    return Geometry((resize,) if isinstance(resize, int) else tuple(resize), square)


def known_geometry(
    own: Geometry | None, resize: int | tuple[int, int] | None, crop: int | tuple[int, int] | None
) -> Geometry:
    """Return the geometry that is said, or else a preprocessing's own.

    Raises: ``ValueError`` where it is not known, or only ``crop`` is said.
    """
    if resize is None and crop is not None:
        raise Mistake("crop= is of an image that was resized, but resize= was not given; give both, or none.")
    found = own if resize is None else geometry_of_sizes(resize, crop)
    if found is None:
        raise Mistake(
            "expected a preprocessing whose resizing and cropping are known, but this one does not show them; "
            "give resize=, the shorter side or (height, width) in pixels, and crop= where it cuts the center."
        )
    return found


def made_of(step: object, given: Any, expected: Tensor) -> bool:
    """Whether a step that is a plain function makes of an image what is expected."""
    if not isinstance(step, FunctionType | v1.Lambda | v2.Lambda):
        return False
    try:
        made = step(given)
        found = made if isinstance(made, Tensor) else v2.functional.pil_to_tensor(made)
    except Exception:  # a function for another kind of image may fail in any way
        return False
    return found.shape == expected.shape and found.dtype == expected.dtype and torch.equal(found, expected)


def _keeps_places(step: object) -> bool:
    """Whether a plain function leaves an RGB image as it is, as one that converts others to RGB, or reverses RGB."""
    values = torch.arange(18, dtype=torch.uint8).reshape(3, 2, 3)
    image: PIL.Image.Image = v2.functional.to_pil_image(values)
    pixels = values / 255
    return made_of(step, image, values) or any(made_of(step, pixels, kept) for kept in (pixels, pixels.flip(0)))


def _places(pixels: int, resized: int, seen: int) -> tuple[Tensor, Tensor]:
    """Return where the pixels of one side lie in what was seen, from -1 to 1, and which of them lie in it at all."""
    start = round((resized - seen) / 2)
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * resized / pixels - start
    return 2 * position / seen - 1, (position >= 0) & (position < seen)
