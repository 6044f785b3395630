"""Photographs and tensors as WebP, in the size that the page shows."""

import base64
from io import BytesIO

import numpy as np
import PIL.Image
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake

WIDEST, NARROWEST = 1600, 16
QUALITY = 88


def webp(image: PIL.Image.Image, width: int | None = None) -> bytes:
    """Return a photograph as WebP, at most ``width`` pixels on its longer side. Raises: ``ValueError``."""
    if width is not None and not NARROWEST <= width <= WIDEST:
        raise Mistake(f"expected a width from {NARROWEST} to {WIDEST} pixels, but got {width}.")
    shown = image.convert("RGB")
    shown.thumbnail((width or WIDEST, width or WIDEST), PIL.Image.Resampling.LANCZOS)
    written = BytesIO()
    shown.save(written, "WEBP", quality=QUALITY, method=2)
    return written.getvalue()


def from_tensor(image: Float[Tensor, "3 height width"]) -> PIL.Image.Image:
    """Return the picture of pixels in [0, 1]."""
    values = image.detach().cpu().float().clamp(0, 1).mul(255).round().movedim(0, -1).numpy().astype(np.uint8)
    return PIL.Image.fromarray(values)


def as_data_url(image: Float[Tensor, "3 height width"]) -> str:
    """Return the picture of pixels in [0, 1] as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp(from_tensor(image))).decode()}"
