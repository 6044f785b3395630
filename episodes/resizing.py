"""How large a preprocessing makes an image before it cuts it: a thin strip must not become a giant."""

import torchvision.transforms as v1
from torchvision.transforms import v2

from episodes.decoding import PIXEL_LIMIT
from episodes.errors import TooLarge


def check_resized(transform: object, size: tuple[int, int]) -> None:
    """Refuse an image of that width and height which a resizing of its shorter side would make too large.

    Raises: ``ValueError`` for more than ``PIXEL_LIMIT`` pixels; a preprocessing that hides its steps passes.
    """
    width, height = size
    for step in _steps(transform):
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


def _steps(transform: object) -> list[object]:
    parts = transform.transforms if isinstance(transform, v2.Compose | v1.Compose) else None
    return [transform] if parts is None else [step for part in parts for step in _steps(part)]
