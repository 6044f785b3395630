"""Pictures and color scales as they stand inside the page, without any file beside it."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from episodes import as_rgb
from fsl_explain.pictures.picture import colorize

QUALITY = 82
STOPS = 17


@dataclass(frozen=True)
class Picture:
    """An image inside the page, with the text that stands for it where it cannot be seen."""

    source: str  # a data address
    width: int
    height: int
    alt: str


def picture(colors: Float[Tensor, "height width 3"], alt: str, width: int) -> Picture:
    """Encode RGB colors in [0, 1] for a place ``width`` CSS pixels wide, with at most twice as many pixels."""
    image = Image.fromarray(colors.clamp(0, 1).mul(255).round().to(torch.uint8).numpy())
    if image.width > 2 * width:
        image = image.resize(
            (2 * width, max(1, round(2 * width * image.height / image.width))), Image.Resampling.LANCZOS
        )
    buffer = BytesIO()
    image.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return Picture(f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}", image.width, image.height, alt)


def photograph(image: Image.Image, alt: str, width: int) -> Picture:
    """Prepare a photograph for a place of that many CSS pixels."""
    small = as_rgb(image).copy()
    small.thumbnail((2 * width, 4 * width), Image.Resampling.LANCZOS)
    return picture(torch.from_numpy(np.asarray(small).copy()).float() / 255, alt, width)


def gradient(signed: bool) -> str:
    """Return the color scale of maps as a CSS gradient, from the low end to the high one."""
    values = torch.linspace(-1 if signed else 0, 1, STOPS)[None]
    stops = colorize(values, signed)[0].mul(255).round().int().tolist()
    return f"linear-gradient(to right, {', '.join(f'rgb({red} {green} {blue})' for red, green, blue in stops)})"
