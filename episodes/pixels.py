"""The one road from a PIL image, of whatever mode, to upright RGB pixels of 8 bits."""

from contextlib import suppress

import numpy as np
import PIL.Image

from episodes.errors import Mistake, WrongType

EXIF_ORIENTATION = 0x0112
NOTES_OF_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
BACK = {
    PIL.Image.Transpose.ROTATE_90: PIL.Image.Transpose.ROTATE_270,
    PIL.Image.Transpose.ROTATE_270: PIL.Image.Transpose.ROTATE_90,
}
STRAIGHT_ALPHA = {"La": "LA", "RGBa": "RGBA"}
TOP_LEVELS = (1.0, 255.0, 65535.0)


def as_rgb(image: PIL.Image.Image, *, upright: bool = True) -> PIL.Image.Image:
    """Return any PIL image as an upright RGB image of 8 bits; every image that enters goes through here.

    The EXIF orientation is applied unless ``upright`` is False, as boxes and masks want it that count the stored
    pixels; the note of it is taken away, so that it is never applied again. Transparency is laid on white.
    Gray of more than 8 bits is scaled, not clipped: integers count up to 65535; floating-point levels count up to
    the first of 1, 255 and 65535 that none exceeds. Other modes are converted. Color profiles are not applied.
    An image that is RGB, opaque and without an orientation is returned as it is.

    Raises:
        TypeError: it is no PIL image.
        ValueError: its gray levels are negative, not a number or above 65535, or its data are damaged.
    """
    if not isinstance(image, PIL.Image.Image):
        raise WrongType(f"expected a PIL image, but got {_kind(image)}; open it with PIL.Image.open or read_image.")
    _load(image)  # first: loading a TIFF turns it
    turn = UPRIGHT.get(orientation_of(image))
    rgb = _opaque(image)
    if turn is None:
        return rgb
    turned = rgb.transpose(turn) if upright else rgb.copy()
    for note in NOTES_OF_ORIENTATION:  # they came along, and would turn it once more
        turned.info.pop(note, None)
    return turned


def orientation_of(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation of an image, from 1 to 8; 1 where it has none that can be read."""
    with suppress(Exception):  # damaged notes raise nearly anything; without them an image is shown as it is stored
        found = image.getexif().get(EXIF_ORIENTATION, 1)
        return int(found) if found in UPRIGHT else 1
    return 1


def stored_again(image: PIL.Image.Image, turn: object) -> PIL.Image.Image:
    """Return an image that its decoder has turned upright as it was stored, with a note of its orientation ``turn``."""
    if turn not in UPRIGHT or orientation_of(image) != 1:
        return image
    there = UPRIGHT[int(str(turn))]
    stored = image.transpose(BACK.get(there, there))
    exif = PIL.Image.Exif()
    exif[EXIF_ORIENTATION] = turn
    stored.info["exif"] = exif.tobytes()
    return stored


def _load(image: PIL.Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # decoders raise nearly anything
        name = getattr(image, "filename", "") or "image"
        raise Mistake(f"expected a whole image, but {name} is damaged ({error}); copy or download it again.") from error


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    image = image.convert(STRAIGHT_ALPHA[image.mode]) if image.mode in STRAIGHT_ALPHA else image
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    white = PIL.Image.new("RGBA", image.size, "white")
    laid = PIL.Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    laid.info = {name: image.info[name] for name in NOTES_OF_ORIENTATION if name in image.info}
    return laid


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Scale gray to 8 bits (65535 becomes 255), keeping the gray that the file declares transparent."""
    levels = np.asarray(image)
    low, high = (float(levels.min()), float(levels.max())) if levels.size else (0.0, 0.0)
    if not (low >= 0 and high <= TOP_LEVELS[-1]):
        raise Mistake(f"expected gray levels from 0 to 65535, but got {low:g} to {high:g}; scale them first.")
    if levels.dtype.kind == "f":
        top = next(top for top in TOP_LEVELS if high <= top)
        gray = PIL.Image.fromarray(np.rint(levels.astype(np.float64) * (255 / top)).astype(np.uint8))
    else:
        gray = PIL.Image.fromarray(((levels.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        gray.putalpha(PIL.Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    gray.info.update({name: image.info[name] for name in NOTES_OF_ORIENTATION if name in image.info})
    return gray


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
