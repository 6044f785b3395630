"""The steps of a preprocessing, and how large it makes an image before it cuts it: no thin strip becomes a giant."""

import torchvision.transforms as v1
from torch import nn
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from episodes.decoding import PIXEL_LIMIT
from episodes.errors import TooLarge


def check_resized(transform: object, size: tuple[int, int]) -> None:
    """Refuse an image of that width and height which a resizing of its shorter side would make too large.

    Raises: ``ValueError`` for more than ``PIXEL_LIMIT`` pixels; a preprocessing that hides its steps passes.
    """
    width, height = size
    for step in steps_of(transform):
        if not isinstance(step, v2.Resize | v1.Resize) or not min(width, height):
            continue
        wanted = [step.size] if isinstance(step.size, int) else list(step.size or [])
        if len(wanted) == 2:
            height, width = wanted
        elif wanted and step.max_size is None:
            scale = wanted[0] / min(width, height)
            width, height = int(width * scale), int(height * scale)
        if width * height > PIXEL_LIMIT:
            raise TooLarge(
                f"an image of {size[0]}x{size[1]} pixels would become {width}x{height} when its shorter side is "
                f"resized to {wanted[0]}, more than the limit of {PIXEL_LIMIT:,} pixels; cut it into parts."
            )


def steps_of(transform: object) -> list[object]:
    """Return the single steps of a torchvision transform, in order, whichever version it is of and however nested."""
    if isinstance(transform, v2.Compose | v1.Compose):
        return [step for part in transform.transforms for step in steps_of(part)]
    if isinstance(transform, nn.Sequential):
        return [step for part in transform for step in steps_of(part)]
    if isinstance(transform, ImageClassification):
        shown = transform
        resize = v1.Resize(shown.resize_size, interpolation=shown.interpolation, antialias=shown.antialias)
        return [resize, v1.CenterCrop(shown.crop_size), v1.ToTensor(), v1.Normalize(shown.mean, shown.std)]
    return [transform]
