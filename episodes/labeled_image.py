"""One image with its label and what is known of where the object lies, and how image files are read."""

import io
import os
import threading
import warnings
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import PIL.Image
from jaxtyping import Int64
from torchvision import tv_tensors

from episodes.errors import MissingFile, Mistake

PIXEL_LIMIT = 80_000_000
"""Images with more pixels are refused before they are decoded."""

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})

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

_FILTERS = threading.Lock()  # of warnings, which all threads share; a forked process finds it open
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_FILTERS.acquire, after_in_parent=_FILTERS.release, after_in_child=_FILTERS.release)


@dataclass(frozen=True)
class LabeledImage:
    """An RGB image, its class, and boxes or a mask of the object where the data set has them.

    ``boxes`` are (n, 4), float32, left-top-right-bottom in pixels, half-open. ``mask`` is
    (height, width), bool, True on the object. ``path`` is None for an image that has no file.
    """

    image: PIL.Image.Image
    label: int
    class_name: str
    boxes: tv_tensors.BoundingBoxes | None = None
    mask: tv_tensors.Mask | None = None
    path: Path | None = None


@runtime_checkable
class LabeledImages(Sized, Protocol):
    """A data set whose labels are known without reading an image.

    Law: ``labels[i]`` is the label of ``self[i]``, ``classes[labels[i]]`` its class name, and
    ``paths[i]`` its path.
    """

    @property
    def name(self) -> str:
        """What the data set is called in a result."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their labels."""

    @property
    def labels(self) -> Int64[np.ndarray, "image"]:
        """Return one index into ``classes`` per image."""

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """One path per image; None for an image that has no file."""

    def __getitem__(self, position: int, /) -> LabeledImage: ...


def find_images(folder: str | Path) -> list[Path]:
    """Return the PNG, JPEG and WebP files that lie directly in a folder, sorted by name; hidden files are skipped.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the path is not a folder.
    """
    place = Path(folder)
    if not place.exists():
        raise MissingFile(f"the folder {place} does not exist; check the path.")
    if not place.is_dir():
        raise Mistake(f"expected a folder of images, but {place} is a file; give the folder that holds it.")
    with os.scandir(place) as entries:
        # An entry knows its kind: a million files are listed without asking for each of them.
        names = sorted(entry.name for entry in entries if _is_image_name(entry.name) and _is_file(entry))
    return [place / name for name in names]


def _is_image_name(name: str) -> bool:
    """Return whether a file of that name is a PNG, JPEG or WebP by its suffix, in any case, and not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a million names


def _is_file(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_file())


def read_image(path: str | Path, *, upright: bool = True) -> PIL.Image.Image:
    """Return a PNG, JPEG or WebP file as an upright RGB image of 8 bits.

    The EXIF orientation is applied unless ``upright`` is False, as boxes and masks want it that count the stored
    pixels; transparency is laid on white, gray and palette and CMYK are
    converted, and 16-bit gray is scaled (not clipped) to 8 bits. Color profiles are not applied.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, empty, truncated, damaged, of another format, or has more
            pixels than ``PIXEL_LIMIT``.
    """
    image = decoded(path)
    turn = UPRIGHT.get(image.getexif().get(EXIF_ORIENTATION, 1)) if upright else None
    rgb = _as_rgb(image)
    if turn is None:
        return rgb
    turned = rgb.transpose(turn)
    for note in NOTES_OF_ORIENTATION:  # they came along, and would turn it once more
        turned.info.pop(note, None)
    return turned


def decoded(path: str | Path) -> PIL.Image.Image:
    """Return a PNG, JPEG or WebP file as it is stored: in its own mode, not turned. Errors as ``read_image``."""
    content = _content(Path(path))
    try:
        image = _opened(content)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise Mistake(f"{path} is refused as a decompression bomb; make it smaller. {error}") from error
    except PIL.UnidentifiedImageError:
        raise Mistake(f"{path} is not a PNG, JPEG or WebP image; convert it to one of these.") from None
    except Exception as error:
        raise _damaged(path, error) from error
    if image.width * image.height > PIXEL_LIMIT:
        raise Mistake(
            f"{path} has {image.width}x{image.height} pixels, more than the limit of {PIXEL_LIMIT:,}; make it smaller."
        )
    try:
        image.load()
    # Decoders of hostile bytes raise nearly anything: OSError, SyntaxError, struct.error, zlib.error.
    except Exception as error:
        raise _damaged(path, error) from error
    return image


def _opened(content: bytes) -> PIL.Image.Image:
    """Read the header of an image; too many pixels are an error. Filters of warnings are those of all threads."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(_WholeFile(content), formats=FORMATS)


class _EndOfFileError(OSError):
    """A decoder wanted more bytes than the file has."""


class _WholeFile(io.BytesIO):
    """A file that refuses to be read past its end.

    Pillow's process-wide ``LOAD_TRUNCATED_IMAGES`` would otherwise let any other library decide
    that a truncated image is read as a half-gray one.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, at least one."""
        block = super().read(size)
        if not block and size:
            raise _EndOfFileError
        return block


def _content(path: Path) -> bytes:
    if not path.exists():
        raise MissingFile(f"the image {path} does not exist; check the path.")
    if path.is_dir():
        raise Mistake(f"expected an image, but {path} is a folder; give one file.")
    content = path.read_bytes()
    if not content:
        raise Mistake(f"the image {path} is empty (0 bytes); copy or download it again.")
    return content


def _damaged(path: str | Path, error: Exception) -> Mistake:
    cause = "ends before its picture does" if isinstance(error, _EndOfFileError) else f"is damaged ({error})"
    return Mistake(f"the image {path} {cause}; copy or download it again.")


def _as_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Scale 16-bit gray to 8 bits (65535 becomes 255), keeping the gray that the file declares transparent."""
    levels = np.asarray(image).astype(np.int64).clip(0, 65535)
    gray = PIL.Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        gray.putalpha(PIL.Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    return gray
