"""Whether a decoded picture is whole: streams that are valid and end early leave the rest as the decoder found it."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

import numpy as np
import PIL.Image

MID_GRAY = 128
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
BARE_MARKERS = (0x01, *range(0xD0, 0xD9))
FILLED_BY_THEMSELVES = ("GIF", "WEBP", "AVIF")


def unfilled(image: PIL.Image.Image, content: bytes, reopened: Callable[[], PIL.Image.Image]) -> bool:
    """Return whether a decoder left a part of the picture as it found it.

    The picture is decoded once more only where its end looks like that: black, or mid-gray in a JPEG file.

    Args:
        image: the decoded picture.
        content: the bytes of its file.
        reopened: opens the same file again, without decoding it.
    """
    if image.format in ("JPEG", "MPO"):
        return _jpeg_ends_early(image, content)
    if image.format in FILLED_BY_THEMSELVES or not (image.info.get("interlace") or _ends_black(image)):
        return False
    again = reopened()
    if image.mode == "1" or again.size != image.size or again.mode != image.mode:
        return False
    again.im = PIL.Image.new(again.mode, again.size, _white(again.mode)).im
    again.load()
    return again.tobytes() != image.tobytes()


def _white(mode: str) -> int | tuple[int, ...]:
    bands = len(PIL.Image.new(mode, (1, 1)).getbands())
    return (255,) * bands if bands > 1 else 255


def _ends_black(image: PIL.Image.Image) -> bool:
    """Return whether all values of the last row are 0."""
    return not np.asarray(image.crop((0, image.height - 1, image.width, image.height))).any()


def _jpeg_ends_early(image: PIL.Image.Image, content: bytes) -> bool:
    """Return whether the scan of a JPEG has no end, or its end comes before the last block.

    The decoder fills missing blocks with mid-gray. Where the last block is that, other bytes are put before the end
    of the scan: a whole picture does not change by them.
    """
    scan = _scan_of_jpeg(content)
    end = -1 if scan is None else content.find(END_OF_IMAGE, scan)
    if end < 0:
        return True
    corner = np.asarray(image.crop((image.width - 1, image.height - 1, image.width, image.height)))
    if image.mode not in ("L", "RGB") or abs(corner.astype(int) - MID_GRAY).max() > 1:
        return False
    filler = bytes([0x55, 0x2A]) * (image.width * image.height // 32 + 64)
    other = PIL.Image.open(BytesIO(content[:end] + filler + content[end:]), formats=("JPEG",))
    with suppress(OSError):
        return other.tobytes() != image.tobytes()
    return True


def _scan_of_jpeg(content: bytes) -> int | None:
    """Return where the first scan of a JPEG begins, past the segments before it; None where there is none."""
    place = 2
    while place + 4 <= len(content):
        if content[place] != 0xFF or content[place + 1] in (0xFF, *BARE_MARKERS):
            place += 1 if content[place] != 0xFF or content[place + 1] == 0xFF else 2
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 1] == START_OF_SCAN:
            return place + 2 + length
        place += 2 + length
    return None
