"""Files of local features: a mapped array of all rows, a seal for each, and the manifest that names the two.

A seal is two SHA-256: of what the row was in the bank, and of its local features. A row is read only where both fit.
``manifest.json`` is replaced in one step and names the files of one build, so that a kill leaves the old or the new.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from pydantic import BaseModel, Field, ValidationError

from episodes.errors import MissingFile, Mistake
from episodes.files import read_regular
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.store.manifest import MOST_CHANNELS, MOST_ROWS, Sha256, Text

MANIFEST, UNFINISHED, LOCK = "manifest.json", "unfinished.json", ".lock"
LONGEST_MANIFEST = 1 << 20
HASH = hashlib.sha256().digest_size
AGAIN = "make them again with LocalFeatures.build or retrieval-explain local-features"


class Described(BaseModel, extra="forbid", frozen=True, strict=True):
    """What the local features of a bank are: how many numbers in which type, and what made them."""

    format: int = Field(1, ge=1, le=1)
    rows: int = Field(ge=1, le=MOST_ROWS)
    channels: int = Field(ge=1, le=MOST_CHANNELS)
    height: int = Field(ge=1, le=2**16)
    width: int = Field(ge=1, le=2**16)
    dtype: Literal["float32", "float16"]
    encoder: Text
    fingerprint: Text
    preprocessing: Text
    name: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # of the two files

    @property
    def numbers(self) -> int:
        """How many numbers a row has: cells times channels."""
        return self.channels * self.height * self.width

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has."""
        return self.numbers * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """What the array's file begins with, in NumPy's format."""
        buffer = io.BytesIO()
        described = {"descr": np.dtype(self.dtype).str, "fortran_order": False, "shape": (self.rows, self.numbers)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()

    def features_in(self, directory: Path) -> Path:
        """Return the file of the array."""
        return directory / f"features-{self.name}.npy"

    def seals_in(self, directory: Path) -> Path:
        """Return the file of the seals."""
        return directory / f"seals-{self.name}.bin"

    def is_made_alike(self, other: "Described") -> bool:
        """Say whether two are equal but for the number of rows and the name of their files."""
        same = {"rows": 1, "name": "0" * 16}
        return self.model_copy(update=same).model_dump() == other.model_copy(update=same).model_dump()


class LocalManifest(BaseModel, extra="forbid", frozen=True, strict=True):
    """A build of local features that is whole."""

    features: Described
    seals_sha256: Sha256


class LocalFiles:
    """The local features of a build that is whole, mapped and read-only. Errors as ``opened``."""

    def __init__(self, directory: Path, manifest: LocalManifest) -> None:
        self.directory: Path = directory
        self.described: Described = manifest.features
        self.path: Path = self.described.features_in(directory)
        header = self.described.header
        _expect_size(self.path, len(header) + self.described.rows * self.described.row_bytes)
        _expect_size(self.described.seals_in(directory), self.described.rows * 2 * HASH)
        with self.path.open("rb") as file:
            if file.read(len(header)) != header:
                raise Mistake(f"the header of {self.path} tells of other rows than its manifest; {AGAIN}.")
        place = self.described.seals_in(directory)
        seals = place.read_bytes()
        if hashlib.sha256(seals).hexdigest() != manifest.seals_sha256:
            raise Mistake(f"{place} is damaged: its SHA-256 is not the recorded one; {AGAIN}.")
        self.seals: UInt8[np.ndarray, "row hash"] = np.frombuffer(seals, np.uint8).reshape(-1, 2 * HASH)
        shape = (self.described.rows, self.described.numbers)
        self.values: Shaped[np.ndarray, "row flat"] = np.memmap(
            self.path, self.described.dtype, "r", len(header), shape
        )

    def fits(self, row: int, tie: bytes) -> bool:
        """Say whether a row of the bank is what its features were made of."""
        return self.seals[row, :HASH].tobytes() == tie

    def is_whole(self, row: int) -> bool:
        """Say whether a row's features are those that were written."""
        return self.seals[row, HASH:].tobytes() == hashlib.sha256(self.values[row]).digest()

    def take(self, rows: Sequence[int]) -> Float[np.ndarray, "row flat"]:
        """Return the features of some rows as float32."""
        return np.asarray(self.values[list(rows)]).astype(np.float32)


def are_kept(directory: Path) -> bool:
    """Say whether a folder holds local features, damaged or not."""
    return (directory / MANIFEST).is_file()


def opened(directory: Path) -> LocalFiles:
    """Open local features: the manifest, the sizes and the seals are checked now, a row when it is read.

    Raises: ``FileNotFoundError`` where there are none; ``ValueError`` for a file that is damaged or of another format.
    """
    path = directory / MANIFEST
    if not are_kept(directory):
        raise MissingFile(
            f"expected the local features of a bank, but {directory} holds none; make them with "
            "LocalFeatures.build(encoder, bank) or retrieval-explain local-features --bank DIR."
        )
    try:
        text = read_regular(path, what="manifest", limit=LONGEST_MANIFEST)
        return LocalFiles(directory, LocalManifest.model_validate_json(text))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or error.errors()[0]["msg"]
        raise Mistake(f"{path} is damaged or of another format than this version reads ({where}); {AGAIN}.") from error


def ties_of(bank: MemoryBank, rows: Sequence[int]) -> list[bytes]:
    """Return the SHA-256 of what rows are in the bank: id, the image's content or else its path, and embedding.

    A label may change, and the path of an image whose content is known.
    """
    places, contents = torch.tensor(list(rows), dtype=torch.int64), bank.entries.contents
    embeddings, ids = bank.rows.take(places).float().numpy(), bank.ids[places].tolist()
    texts = [(contents[row] if len(contents) else "") or bank.paths[row] for row in rows]
    return [
        hashlib.sha256(f"{number}\n{text}\n".encode("utf-8", "surrogatepass") + values.tobytes()).digest()
        for number, text, values in zip(ids, texts, embeddings, strict=True)
    ]


def _expect_size(path: Path, size: int) -> None:
    if not path.is_file() or path.is_symlink():
        raise MissingFile(f"expected {path}, a file of the local features, but there is none; {AGAIN}.")
    if path.stat().st_size != size:
        raise Mistake(f"expected {path} to have {size} bytes, but it has {path.stat().st_size}; {AGAIN}.")
