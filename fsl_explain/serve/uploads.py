"""Images that a user gave the page: checked, decoded once, and kept as pixels under the hash of what was sent.

Only the pixels are kept, written again as PNG, so that nothing else a file may carry is ever sent out. The hash is that
of ``episodes.contents``, so that an upload is known as the image of a bank that it is.
"""

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from episodes import read_image
from episodes.contents import DIGITS
from episodes.errors import Mistake, TooLarge, UnknownName
from fsl_explain.files import written_aside

KEPT = 200
MOST_PIXELS = 40_000_000
HASH = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


class NoImage(Mistake):
    """Bytes that are no image of a known format."""


@dataclass(frozen=True)
class Upload:
    """An image that was given, by its hash."""

    content: str
    width: int
    height: int


class Uploads:
    """The images that were given, in a folder; of more than ``kept`` the oldest go."""

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder: Path = folder
        self.kept: int = kept

    def add(self, body: bytes) -> Upload:
        """Decode an image and keep its pixels. Raises: ``ValueError`` in one sentence for anything else."""
        content = hashlib.sha256(body).hexdigest()[:DIGITS]
        image = self._decoded(body)
        if image.width * image.height > MOST_PIXELS:
            raise TooLarge(f"expected at most {MOST_PIXELS / 1e6:g} million pixels; make the image smaller.")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(content)
        if path.is_file():
            path.touch()
        else:
            with written_aside(path) as aside:
                image.save(aside, "PNG", compress_level=1)
        self._forget_the_oldest()
        return Upload(content, image.width, image.height)

    def read(self, content: str) -> PIL.Image.Image:
        """Return an image that was given. Raises: ``LookupError`` where it is not kept."""
        path = self._path(content)
        if not HASH.fullmatch(content) or not path.is_file():
            raise UnknownName(
                "expected an image that was given to this page, but it is not kept any more; give it anew."
            )
        return read_image(path)

    def _path(self, content: str) -> Path:
        return self.folder / f"{content}.png"

    def _decoded(self, body: bytes) -> PIL.Image.Image:
        if not body:
            raise NoImage("expected an image, but got nothing; choose a file.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image"
            path.write_bytes(body)
            try:
                return read_image(path)
            except Mistake as error:
                kind = TooLarge if isinstance(error, TooLarge) else NoImage
                raise kind(
                    str(error).replace(f"the image {path}", str(path)).replace(str(path), "this file")
                ) from error

    def _forget_the_oldest(self) -> None:
        there = sorted(self.folder.glob("*.png"), key=lambda path: path.stat().st_mtime)
        for path in there[: -self.kept]:
            path.unlink(missing_ok=True)
