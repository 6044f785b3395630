"""From images as users have them (PIL images, arrays, integer tensors, files) to one batch of preprocessed pixels."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from episodes import as_rgb, read_image
from episodes.errors import Mistake, WrongType
from episodes.resizing import check_resized

TAKEN = "PIL images, arrays (height, width, 3) of uint8 or paths of image files"


def image_batch(transform: Callable[[Image.Image], Tensor], images: Any) -> Float[Tensor, "batch color height width"]:
    """Turn a list of images into one batch, on the CPU; each is made RGB by ``picture`` and preprocessed.

    Raises:
        TypeError: a single image in place of a list, or something that is no image.
        ValueError: there is no image, one cannot be read, or the preprocessing makes images of different sizes.
    """
    rows = [_preprocessed(transform, image, number) for number, image in enumerate(_listed(images))]
    if not rows:
        raise Mistake(f"expected at least one image, but got none; pass a list of {TAKEN}.")
    for number, row in enumerate(rows):
        expect_one_size(rows[0], row, "image 0", f"image {number}", ", or pass one image at a time")
    return torch.stack(rows)


def expect_one_size(first: Tensor, other: Tensor, first_name: str, other_name: str, or_else: str = "") -> None:
    """Refuse preprocessed images of two sizes, which are no batch. Raises: ``ValueError``."""
    if other.shape != first.shape:
        raise Mistake(
            f"expected images that the preprocessing makes of one size, but {first_name} became {_size(first)} and "
            f"{other_name} {_size(other)}; let it resize to a height and a width{or_else}."
        )


def picture(image: Any, name: str = "the image") -> Image.Image:
    """Return what a user has as an upright RGB image of 8 bits.

    A path is read. An array is (height, width), (height, width, 1), 3 or 4 channels, RGB or RGBA, of uint8; gray may
    be of uint16; floating-point levels count from 0 to 1. A tensor of integers is the same with the channels first.

    Raises: ``TypeError`` for anything else, ``ValueError`` for other shapes and ranges. ``name`` is what errors say.
    """
    if isinstance(image, Image.Image):
        return as_rgb(image)
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Tensor):
        if image.is_floating_point() or image.is_complex():
            raise WrongType(
                f"expected {TAKEN}, but {name} is a tensor of {image.dtype}; if it is preprocessed already, "
                "pass it where preprocessed pixels belong, as in encoder(images)."
            )
        array = image.detach().cpu()
        return _of_array((array.movedim(0, -1) if array.dim() == 3 else array).numpy(), name, "(3, height, width)")
    if isinstance(image, np.ndarray):
        return _of_array(image, name, "(height, width, 3)")
    raise WrongType(f"expected {TAKEN}, but {name} is a {type(image).__name__}; open it with PIL.Image.open.")


def _listed(images: Any) -> list[Any]:
    if isinstance(images, Image.Image):
        raise WrongType("expected a list of PIL images, but got a single one; pass [image].")
    if isinstance(images, str | bytes | Path):
        raise WrongType(f"expected a list of images, but got the single {images!r}; pass it in a list, as in [path].")
    if isinstance(images, np.ndarray | Tensor) and images.ndim < 4:
        raise WrongType(f"expected a list of images, but got one of shape {tuple(images.shape)}; pass [image].")
    if isinstance(images, dict) or not isinstance(images, Iterable):
        raise WrongType(f"expected a list of images, but got a {type(images).__name__}; pass a list of {TAKEN}.")
    return list(images)


def _preprocessed(transform: Callable[[Image.Image], Tensor], image: Any, number: int) -> Tensor:
    rgb = picture(image, f"image {number}")
    check_resized(transform, rgb.size)
    pixels: Any = transform(rgb)
    if not isinstance(pixels, Tensor) or pixels.dim() != 3:
        got = f"a tensor of shape {tuple(pixels.shape)}" if isinstance(pixels, Tensor) else f"a {type(pixels).__name__}"
        raise Mistake(
            f"expected a preprocessing from a PIL image to a tensor (channels, height, width), but it gave {got} for "
            f"image {number}; end it with v2.ToDtype(torch.float32, scale=True), and add no batch dimension."
        )
    return pixels


def _of_array(values: np.ndarray, name: str, layout: str) -> Image.Image:
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in values.shape:
        order = tuple(values.shape) if layout.startswith("(h") else (*values.shape[2:], *values.shape[:2])
        raise Mistake(f"expected an image of shape {layout} or (height, width), but {name} is {order}; rearrange it.")
    plane = values[:, :, 0] if values.ndim == 3 and channels == 1 else values
    if plane.dtype == np.uint8:
        return as_rgb(Image.fromarray(np.ascontiguousarray(plane)))
    if plane.dtype == np.bool_:
        return as_rgb(Image.fromarray(plane.astype(np.uint8) * 255))
    if plane.dtype == np.uint16 and channels == 1:
        return as_rgb(Image.fromarray(np.ascontiguousarray(plane)))
    low, high = (float(plane.min()), float(plane.max())) if plane.dtype.kind in "iuf" else (np.nan, np.nan)
    if plane.dtype.kind == "f" and low >= 0 and high <= 1:
        return as_rgb(Image.fromarray(np.rint(plane.astype(np.float64) * 255).astype(np.uint8)))
    if plane.dtype.kind in "iu" and low >= 0 and high <= 255:
        return as_rgb(Image.fromarray(plane.astype(np.uint8)))
    raise WrongType(
        f"expected levels of uint8, or floating-point ones from 0 to 1, but {name} is of {plane.dtype} from {low:g} "
        f"to {high:g}; scale it and convert it with .astype('uint8')."
    )


def _size(pixels: Tensor) -> str:
    return "×".join(map(str, pixels.shape))
