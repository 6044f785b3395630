"""From an annotated image to the tensor a network sees, boxes and mask following the image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from episodes.annotation import box_mask, mask_box
from episodes.errors import Mistake
from episodes.labeled_image import LabeledImage
from episodes.pixels import as_rgb
from episodes.resizing import check_resized

CROP_PADDING = 8
if TYPE_CHECKING:  # torchvision tells type checkers nothing of its classes
    _Transform = nn.Module

    class _Normalize(nn.Module):
        mean: Sequence[float]
        std: Sequence[float]

        def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None: ...
        def transform(self, inpt: Any, params: dict[str, Any]) -> Any: ...
else:
    _Transform, _Normalize = v2.Transform, v2.Normalize


@dataclass(frozen=True)
class PreparedImage:
    """The tensor that a network sees, with boxes and mask in its coordinates.

    ``pixels`` are what the transform ends in: of those of this module float32, normalized by mean and standard
    deviation. ``boxes`` are (n, 4), clamped to the image, none of them empty; ``mask`` is True on the object. Each is
    None where the image came without.
    """

    pixels: Float[Tensor, "color height width"]
    boxes: Float[Tensor, "box 4"] | None
    mask: Bool[Tensor, "height width"] | None

    @property
    def target_mask(self) -> Bool[Tensor, "height width"] | None:
        """The pixels of the object: the mask if there is one, else the union of the boxes.

        None without annotation, and where the transform cut the object away.
        """
        height, width = self.pixels.shape[-2:]
        if self.mask is not None:
            target = self.mask.as_subclass(Tensor).bool()
        elif self.boxes is not None:
            target = box_mask(self.boxes.as_subclass(Tensor), height, width).any(dim=0)
        else:
            return None
        return target if bool(target.any()) else None

    @property
    def target_box(self) -> Float[Tensor, "4"] | None:
        """The largest box (the first of equals), else the tight box of the mask.

        None without annotation, and where the transform cut the object away.
        """
        if self.boxes is not None and len(self.boxes):
            boxes = self.boxes.as_subclass(Tensor)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
            largest: Tensor = boxes[int(areas.argmax())]
            return largest
        if self.mask is None or self.target_mask is None:
            return None
        return mask_box(self.target_mask[None])[0]


def direct_resize(
    size: int, mean: Sequence[float], std: Sequence[float], *, bgr: bool = False, interpolation: str = "bilinear"
) -> nn.Module:
    """Return the few-shot test transform: resize to size × size whatever the aspect ratio, then normalize.

    ``mean`` and ``std`` are one number per channel of the result, of pixels in [0, 1]; with ``bgr`` these channels
    are blue, green and red. ``interpolation`` is ``bilinear``, ``bicubic`` or another of torchvision's modes.
    """
    return _in_turn(v2.ToImage(), _resize_to([size, size], interpolation), *_normalized(mean, std, bgr))


def center_crop(
    resize: int | Sequence[int],
    crop: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    bgr: bool = False,
    interpolation: str = "bilinear",
) -> nn.Module:
    """Return the test transform of metric learning: resize the shorter side, cut the central square, then normalize.

    Args:
        resize: the shorter side after resizing in pixels, the aspect ratio kept; or height and width, whatever it is.
        crop: height and width of the result in pixels.
        mean: one number per channel of the result, of pixels in [0, 1].
        std: likewise.
        bgr: whether the channels of the result are blue, green and red.
        interpolation: ``bilinear``, ``bicubic`` or another of torchvision's modes.

    Raises:
        ValueError: the crop is larger than what is resized.
    """
    sides = [resize] if isinstance(resize, int) else list(resize)
    if crop > min(sides):
        raise Mistake(
            f"expected a crop of at most {min(sides)} pixels, the shorter side, but got {crop}; resize to more."
        )
    steps = [v2.ToImage(), _resize_to(sides, interpolation), v2.CenterCrop(crop)]
    return _in_turn(*steps, *_normalized(mean, std, bgr))


def training_transform(
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    flip: float = 0.5,
    erasing: float = 0.0,
    bgr: bool = False,
) -> nn.Module:
    """Return the few-shot training transform: resize, crop with padding 8, flip, normalize, erase.

    Args:
        size: height and width of the result in pixels.
        mean: one number per channel of the result, of pixels in [0, 1].
        std: likewise.
        flip: probability of a horizontal flip; 0 for classes that differ by a mirror, as digits do.
        erasing: probability that a random rectangle, 0.02 to 0.4 of the image, is erased after normalization.
        bgr: whether the channels of the result are blue, green and red.
    """
    steps = [
        v2.ToImage(),
        _resize_to([size, size]),
        v2.RandomCrop(size, padding=CROP_PADDING),
        v2.RandomHorizontalFlip(flip),
    ]
    return _in_turn(*steps, *_normalized(mean, std, bgr), *([_PixelErasing(erasing)] if erasing > 0 else []))


def prepare(labeled: LabeledImage, transform: Callable[..., Any]) -> PreparedImage:
    """Apply a transform to an image and to its boxes and mask alike.

    Boxes are clamped to what the transform kept of the image, and dropped where nothing is left.

    Raises:
        ValueError: the transform does not end in a float image (channel, height, width).
    """
    seen = as_rgb(labeled.image, upright=labeled.boxes is None and labeled.mask is None)
    check_resized(transform, seen.size)
    sample = {"image": seen, "boxes": labeled.boxes, "mask": labeled.mask}
    result = transform(sample)
    image = result["image"]
    if not isinstance(image, Tensor) or not image.is_floating_point() or image.ndim != 3:
        got = f"{tuple(image.shape)} of {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        raise Mistake(
            f"the transform should end in a float tensor of shape (channel, height, width), but returns {got}; "
            "let it begin with v2.ToImage() and end with v2.ToDtype(torch.float32, scale=True) and v2.Normalize(...)."
        )
    return PreparedImage(image.as_subclass(Tensor), _kept(result["boxes"]), result["mask"])


class BlueGreenRed(_Transform):
    """Reverse the order of an image's channels, as networks converted from Caffe want it."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ARG002 - torchvision's signature
        """Reverse the channels of an image, pass anything else by."""
        return tv_tensors.wrap(inpt.flip(-3), like=inpt) if isinstance(inpt, tv_tensors.Image) else inpt


class Normalize(_Normalize):
    """The same numbers as torchvision's in a fraction of the time, for images whose channels lie beside each other.

    Those of photographs do. A row of pixels is then a row of numbers, which a processor takes many at a time.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Normalize an image, pass anything else by."""
        if not isinstance(inpt, tv_tensors.Image) or inpt.ndim != 3 or not all(self.std):
            return super().transform(inpt, params)
        image = inpt.as_subclass(Tensor)
        pixels = image.permute(1, 2, 0)
        if not image.is_floating_point() or not pixels.is_contiguous() or len(self.mean) != len(image):
            return super().transform(inpt, params)
        mean, deviation = (_in_a_row(tuple(values), pixels.shape[1], image.dtype) for values in (self.mean, self.std))
        rows = pixels.flatten(1).sub(mean.to(image.device)).div_(deviation.to(image.device))
        return tv_tensors.wrap(rows.unflatten(1, pixels.shape[1:]).permute(2, 0, 1), like=inpt)


class _PixelErasing(_Transform):
    """Random erasing of the image alone; torchvision's own warns when boxes or masks pass by."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.erasing = v2.RandomErasing(probability, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ARG002 - torchvision's signature
        """Erase in an image, pass anything else by."""
        return self.erasing(inpt) if isinstance(inpt, tv_tensors.Image) else inpt


def _resize_to(size: list[int], interpolation: str = "bilinear") -> v2.Transform:
    return v2.Resize(size, interpolation=v2.InterpolationMode(interpolation), antialias=True)


def _normalized(mean: Sequence[float], std: Sequence[float], bgr: bool) -> list[nn.Module]:
    order = [BlueGreenRed()] if bgr else []
    return [*order, v2.ToDtype(torch.float32, scale=True), Normalize(list(mean), list(std))]


@lru_cache(maxsize=64)
def _in_a_row(channels: tuple[float, ...], width: int, dtype: torch.dtype) -> Float[Tensor, "number"]:
    return torch.tensor(channels, dtype=dtype).repeat(width)


def _in_turn(*steps: nn.Module) -> nn.Module:
    whole: nn.Module = v2.Compose([*steps])
    return whole


def _kept(boxes: Any) -> Float[Tensor, "box 4"] | None:
    if boxes is None:
        return None
    height, width = boxes.canvas_size
    clamped = np.clip(boxes.as_subclass(Tensor).float().numpy(), 0, np.array([width, height] * 2, np.float32))
    kept = torch.from_numpy(clamped[(clamped[:, 2:] > clamped[:, :2]).all(axis=1)])
    found: Tensor = tv_tensors.BoundingBoxes(kept, format="XYXY", canvas_size=(height, width))
    return found
