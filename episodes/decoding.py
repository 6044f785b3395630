"""From an image file to a decoded PIL image: which formats, how large, and nothing that is not whole."""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from episodes.errors import Mistake, TooLarge
from episodes.files import open_regular, read_regular
from episodes.pixels import EXIF_ORIENTATION, stored_again
from episodes.whole import unfilled

PIXEL_LIMIT = 80_000_000
"""Images with more pixels are refused before they are decoded."""

SIDE_LIMIT = 65_535
"""Images with a longer side are refused before they are decoded, however narrow they are."""

BYTE_LIMIT = 1 << 29
"""Files with more bytes are refused before they are read."""

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
ALSO = "(BMP, GIF, TIFF, PNM, AVIF and JPEG 2000 are read as well)"
ANIMATED = ("PNG", "WEBP", "GIF", "TIFF", "AVIF")
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")

_OPENING = threading.Lock()  # for the filters of warnings, which all threads share; a forked process finds it open
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_OPENING.acquire, after_in_parent=_OPENING.release, after_in_child=_OPENING.release)


def decoded(path: str | Path) -> PIL.Image.Image:
    """Return an image file as it is stored: in its own mode, not turned; of several frames the first, with a warning.

    The content decides on the format, not the name. Errors as ``read_image``.
    """
    content = read_regular(path, what="image", limit=BYTE_LIMIT)
    if not content:
        raise Mistake(f"the image {path} is empty (0 bytes); copy or download it again.")
    image = _opened(path, _in_memory(content))
    try:
        turn = getattr(image, "tag_v2", {}).get(EXIF_ORIENTATION, 1)
        several = image.format in ANIMATED and bool(getattr(image, "is_animated", False))
        image.load()
        if unfilled(image, content, lambda: _opened(path, _in_memory(content))):
            raise _EndOfFileError
    # Decoders of hostile bytes raise nearly anything: OSError, SyntaxError, struct.error, zlib.error.
    except Exception as error:
        raise _damaged(path, error) from error
    if several:
        warnings.warn(f"{path} has several frames; the first one is taken.", stacklevel=3)
    return stored_again(image, turn) if image.format == "TIFF" else image


def check_header(path: str | Path) -> None:
    """Refuse a file that does not begin as an image within the limits does; no picture is decoded.

    Raises: as ``read_image``, except for what only shows where the picture is decoded, as one that is cut short.
    """
    with open_regular(path, what="image", limit=BYTE_LIMIT) as stream:
        _opened(path, stream)


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


def _in_memory(content: bytes) -> io.BytesIO:
    return (io.BytesIO if content.startswith(JPEG_2000) else _WholeFile)(content)  # which reads ahead, and sees its end


def _opened(path: str | Path, stream: BinaryIO | io.BytesIO) -> PIL.Image.Image:
    """Return the image with its size known and within the limits, and nothing decoded."""
    try:
        with _quiet_pillow():
            known = [name for name in FORMATS if name in PIL.Image.OPEN]
            image = PIL.Image.open(stream, formats=known)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{path} is refused as a decompression bomb; make it smaller. {error}") from error
    except PIL.UnidentifiedImageError:
        raise Mistake(f"{path} is not a PNG, JPEG or WebP image; convert it to one of these {ALSO}.") from None
    except Exception as error:
        raise _damaged(path, error) from error
    size, pixels = f"{path} has {image.width}x{image.height} pixels", image.width * image.height
    if pixels > PIXEL_LIMIT:
        raise TooLarge(f"{size}, more than the limit of {PIXEL_LIMIT:,}; make it smaller.")
    if max(image.size) > SIDE_LIMIT:
        raise TooLarge(f"{size}, and a side is longer than the limit of {SIDE_LIMIT:,}; cut it into parts.")
    return image


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Turn Pillow's warning of bombs into an error and keep its others to itself, one thread at a time."""
    with _OPENING, warnings.catch_warnings():
        PIL.Image.init()
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        yield


def _damaged(path: str | Path, error: Exception) -> Mistake:
    cause = "ends before its picture does" if isinstance(error, _EndOfFileError) else f"is damaged ({error})"
    return Mistake(f"the image {path} {cause}; copy or download it again.")
