"""Hostile images: damaged, cut, giant, special files and lies about what they are."""

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from episodes import ImageFiles, ImageFolder, read_image

Verdict = str | Callable[[Any], bool]
Case = tuple[str, Callable[[], object], Verdict]

FORMATS = {
    "png": {"format": "PNG"},
    "jpg": {"format": "JPEG"},
    "progressive": {"format": "JPEG", "progressive": True},
    "webp": {"format": "WEBP"},
    "lossless": {"format": "WEBP", "lossless": True},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"},
    "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "deflate": {"format": "TIFF", "compression": "tiff_deflate"},
    "ppm": {"format": "PPM"},
    "jp2": {"format": "JPEG2000"},
}
CUTS = (0.002, 0.05, 0.3, 0.6, 0.9, 0.97)
BEYOND = (
    (1, 30_000_000),
    (30_000_000, 1),
    (70_000, 70_000),
    (9_000, 9_001),
    (2**31 - 1, 1),
    (65_536, 2),
    (0, 5),
    (5, 0),
)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr", "LAB", "HSV", "F", "I")


def cases(folder: Path) -> Iterator[Case]:
    """Yield every hostile image below a folder with what should become of it."""
    whole = {name: encoded(**options) for name, options in FORMATS.items()}
    for name, content in whole.items():
        yield written(folder, f"whole-{name}", content, is_picture)
        yield written(folder, f"behind-{name}", content + b"more" * 100, is_picture)
        for share in CUTS:
            yield written(folder, f"cut-{name}-{share}", content[: int(len(content) * share)], "refused")
        for place in (4, 12, 20):
            damaged = content[:place] + b"\xff" * 8 + content[place + 8 :]
            yield written(folder, f"damaged-{name}-{place}", damaged, is_picture_or_refused)
    yield from bombs(folder)
    yield from ends_early(folder)
    yield from chunks(folder)
    yield from special(folder)
    for mode in MODES:
        yield f"mode-{mode}", partial(from_mode, mode), is_picture
    for number in range(24):
        content = np.random.default_rng(number).bytes(400)
        start = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"GIF89a", b"BM", b"P6 9 9 255\n"][
            number % 6
        ]
        yield written(folder, f"noise-{number}", start + content, is_picture_or_refused)


def is_picture(result: object) -> bool:
    """Return whether what came back is an RGB image."""
    return isinstance(result, PIL.Image.Image) and result.mode == "RGB"


def is_picture_or_refused(result: object) -> bool:
    """Return the same; a refusal is right as well."""
    return is_picture(result)


def encoded(mode: str = "RGB", **options: Any) -> bytes:
    """Return an image file of noise without black."""
    noise = np.random.default_rng(0).integers(1, 256, (48, 40, 3), dtype=np.uint8)
    stream = BytesIO()
    PIL.Image.fromarray(noise).convert(mode).save(stream, **options)
    return stream.getvalue()


def written(folder: Path, name: str, content: bytes, verdict: Verdict) -> Case:
    """Return the case of one file of that content."""
    path = folder / f"{name}.png"

    def read() -> object:
        path.write_bytes(content)
        return read_image(path)

    return name, read, verdict


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, body: bytes, *, color: int = 2, extra: bytes = b"", interlaced: int = 0) -> bytes:
    """Return a PNG file of 8 bits that says it has that size, whatever its body holds."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, interlaced))
    pixels = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


def bombs(folder: Path) -> Iterator[Case]:
    """Yield small files that ask for giant pictures."""
    for width, height in BEYOND:
        yield written(folder, f"png-{width}x{height}", png(width, height, b"\0" * 1000), "refused")
        bmp = (
            b"BM"
            + struct.pack("<IHHI", 100, 0, 0, 54)
            + struct.pack("<IiiHHIIIIII", 40, width, height, 1, 24, *(0,) * 6)
        )
        yield written(folder, f"bmp-{width}x{height}", bmp + b"\0" * 46, "refused")
        ppm = b"P6 %d %d 255\n" % (width, height) + b"\0" * 46
        yield written(folder, f"ppm-{width}x{height}", ppm, "refused")
        tiff = tiff_of({256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 1000})
        yield written(folder, f"tiff-{width}x{height}", tiff, "refused")
        if max(width, height) < 65_536:
            gif = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
            frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\0;"
            yield written(folder, f"gif-{width}x{height}", gif + frame, "refused")


def tiff_of(tags: dict[int, int]) -> bytes:
    """Return a TIFF file of these tags, each one long number."""
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, min(value, 2**32 - 1)) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4)


def ends_early(folder: Path) -> Iterator[Case]:
    """Yield valid streams that hold less than their picture."""
    for color, width in ((0, 8), (2, 24), (6, 32)):
        row = b"\0" + b"\x77" * width
        for rows in (0, 1, 4, 7):
            yield written(folder, f"early-{color}-{rows}", png(8, 8, row * rows, color=color), "refused")
            laced = png(8, 8, (row * rows)[:40], color=color, interlaced=1)
            yield written(folder, f"early-interlaced-{color}-{rows}", laced, "refused")
        yield written(folder, f"late-{color}", png(8, 8, row * 8, color=color), is_picture)
    for name in ("jpg",):
        content = encoded(**FORMATS[name])
        for share in (0.4, 0.7):
            early = content[: int(len(content) * share)]
            yield written(folder, f"early-{name}-{share}", early.rstrip(b"\xff") + b"\xff\xd9", "refused")
            yield written(folder, f"zeros-{name}-{share}", early + bytes(len(content) - len(early)), "refused")


def chunks(folder: Path) -> Iterator[Case]:
    """Yield pictures with hostile notes beside their pixels."""
    body = (b"\0" + b"\x77" * 24) * 8
    giant = zlib.compress(bytes(200_000_000), 9)
    notes = {
        "text": chunk(b"zTXt", b"a\0\0" + giant),
        "unicode": chunk(b"iTXt", b"a\0\1\0\0\0" + giant),
        "profile": chunk(b"iCCP", b"a\0\0" + giant),
        "many": chunk(b"tEXt", b"a\0b") * 5000,
        "exif": chunk(b"eXIf", b"MM\0*" + b"\xff" * 20),
        "exif-short": chunk(b"eXIf", b"M"),
        "exif-loop": chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0"),
        "frames": chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        "palette": chunk(b"PLTE", b"\0" * 7),
        "transparency": chunk(b"tRNS", b"\0"),
        "unknown": chunk(b"abCd", b"\0" * 9),
    }
    for name, extra in notes.items():
        yield written(folder, f"note-{name}", png(8, 8, body, extra=extra), is_picture_or_refused)
    for orientation in (0, 9, 255, 65535):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        yield written(folder, f"orientation-{orientation}", encoded(format="JPEG", exif=exif), is_picture)
    for tag in (254, 258, 259, 262, 266, 273, 274, 277, 279, 317, 322, 323, 324, 338, 339):
        tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
        yield written(folder, f"tag-{tag}", tiff_of({**tags, tag: 2**32 - 1}) + bytes(99), is_picture_or_refused)


def special(folder: Path) -> Iterator[Case]:
    """Yield what is no regular file, or cannot be opened."""

    def read(make: Callable[[Path], object], name: str) -> object:
        path = folder / name
        make(path)
        return read_image(path)

    def listen(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(path.parent)
            try:
                server.bind(path.name)
            finally:
                os.chdir(here)

    def sparse(path: Path) -> None:
        path.touch()
        os.truncate(path, 1 << 40)

    kinds: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "socket": listen,
        "folder": Path.mkdir,
        "empty": Path.touch,
        "gone": lambda path: None,
        "loop": lambda path: path.symlink_to(path),
        "dangling": lambda path: path.symlink_to(path.parent / "nothing"),
        "sparse": sparse,
    }
    for device in ("/dev/zero", "/dev/random", "/dev/full", "/dev/tty", "/dev/stdin", "/proc/self/maps", "/proc/kmsg"):
        kinds[device.replace("/", "_")] = lambda path, device=device: path.symlink_to(device)
    for name, make in kinds.items():
        yield f"special-{name}", partial(read, make, f"special{name}.png"), "refused"
    for name in ("a\0b.png", "x" * 300 + ".png", "x/" * 3000, ""):
        yield f"name-{name[:4]!r}-{len(name)}", partial(read_image, str(folder / name) if name else name), "refused"
    yield from folders(folder)


def folders(folder: Path) -> Iterator[Case]:
    """Yield folders of which nothing can be read, or that lead back to themselves."""

    def opened(name: str, kind: Callable[[Path], object]) -> object:
        root = folder / name
        (root / "class").mkdir(parents=True)
        (root / "class" / "loop").symlink_to(root)
        (root / "class" / "a.png").write_bytes(encoded(format="PNG"))
        return len(kind(root))  # type: ignore[arg-type]

    yield "loop-in-classes", partial(opened, "classes", ImageFolder), lambda count: count == 1
    yield "loop-in-images", partial(opened, "images", ImageFiles), lambda count: count == 1


def from_mode(mode: str) -> PIL.Image.Image:
    """Return an image of that mode on the road that every PIL image goes."""
    from fsl_explain.image_batch import picture

    if mode in ("I;16", "F", "I"):
        return picture(PIL.Image.fromarray(np.full((4, 4), 200, {"I;16": "u2", "F": "f4", "I": "i4"}[mode])))
    return picture(
        PIL.Image.new("RGB", (4, 4), (9, 8, 7)).convert(mode) if mode != "LAB" else PIL.Image.new(mode, (4, 4))
    )
