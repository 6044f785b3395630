"""Reading of a bank from disk: mapped, and never a row before its block's hash is checked."""

import hashlib
import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32, Int64
from pydantic import ValidationError

from episodes.errors import MissingFile, Mistake
from retrieval_explain.store.bank_rows import without_similarity
from retrieval_explain.store.embeddings_file import HEADER_BYTES, header
from retrieval_explain.store.manifest import LABELS, NAMES, Manifest
from retrieval_explain.store.read_rows import check_rows_file, read_rows
from retrieval_explain.store.versions import EMBEDDINGS, MANIFEST, REPAIR, ROWS, Pointer, read_pointer

TRIES = 10
LONGEST_MANIFEST = 1 << 27  # bytes; the hashes of two terabytes of embeddings


class StoredBank:
    """One version of a bank on disk, mapped and read-only; it stays readable when a newer one replaces it.

    Embeddings are returned as float32, whatever they are stored as. Every block is checked against its hash
    on its first read, and so is the file of ids, labels and paths; a damaged one raises ``ValueError`` and
    nothing of it is returned. So does one whose hashes are right and whose rows no search could rank, for a bank may
    come from anybody.
    """

    def __init__(self, directory: Path, version: str, manifest: Manifest) -> None:
        self.directory: Path = directory
        self.version: str = version
        self.manifest: Manifest = manifest
        folder = directory / version
        row_bytes = manifest.channels * np.dtype(manifest.dtype).itemsize
        self._paths = {name: folder / name for name in (EMBEDDINGS, ROWS)}
        embeddings = _mapped(self._paths[EMBEDDINGS], HEADER_BYTES + manifest.rows * row_bytes)
        self._rows_file = _mapped(self._paths[ROWS], manifest.rows_bytes)
        _check(self._paths[EMBEDDINGS], memoryview(embeddings)[:HEADER_BYTES], manifest.header_sha256)
        if embeddings[:HEADER_BYTES] != header(manifest.dtype, manifest.rows, manifest.channels):
            raise Mistake(f"the header of {self._paths[EMBEDDINGS]} tells of other rows than its manifest; {REPAIR}.")
        try:
            check_rows_file(self._paths[ROWS], self._rows_file, manifest.rows)
        except Mistake:
            _check(self._paths[ROWS], self._rows_file, manifest.rows_sha256)  # damage is told before what came of it
            raise
        shape = (manifest.rows, manifest.channels)
        self._embeddings = np.ndarray(shape, manifest.dtype, buffer=embeddings, offset=HEADER_BYTES)
        self._verified = np.zeros(len(manifest.block_sha256), dtype=bool)
        self._rows_verified = False

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def blocks(self) -> int:
        """How many blocks the embeddings are checked in."""
        return len(self._verified)

    def stored_block(self, block: int) -> Float[np.ndarray, "row channel"]:
        """Return the rows of one block in the type in which they are stored."""
        start = block * self.manifest.block_rows
        self._verify(range(block, block + 1))
        rows: Float[np.ndarray, "row channel"] = self._embeddings[start : start + self.manifest.block_rows]
        return rows

    def block(self, block: int) -> Float32[np.ndarray, "row channel"]:
        """Return the rows of one block."""
        rows: Float32[np.ndarray, "row channel"] = self.stored_block(block).astype(np.float32, copy=False)
        return rows

    def rows(self, start: int, stop: int) -> Float32[np.ndarray, "row channel"]:
        """Return the rows from ``start`` up to but without ``stop``; float32 rows are not copied."""
        if not 0 <= start <= stop <= len(self):
            raise Mistake(f"expected rows between 0 and {len(self)}, but got {start} to {stop}.")
        if start < stop:
            self._verify(range(start // self.manifest.block_rows, (stop - 1) // self.manifest.block_rows + 1))
        return self._embeddings[start:stop].astype(np.float32, copy=False)

    def take(self, indices: Int64[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape channel"]:
        """Return the rows at these positions; only the blocks that hold them are read."""
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            wrong = indices.min() if indices.min() < 0 else indices.max()
            raise Mistake(f"expected positions from 0 to {len(self) - 1}, but got {wrong}.")
        self._verify(np.unique(indices // self.manifest.block_rows).tolist())
        taken: Float32[np.ndarray, "*shape channel"] = self._embeddings[indices].astype(np.float32, copy=False)
        return taken

    def _verify(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            if not self._verified[block]:
                start = block * self.manifest.block_rows
                data = self._embeddings[start : start + self.manifest.block_rows].reshape(-1).view(np.uint8)
                _check(self._paths[EMBEDDINGS], data.data, self.manifest.block_sha256[block])
                self._check_values(start)
                self._verified[block] = True

    def _check_values(self, start: int) -> None:
        """Refuse a block of which a row has no similarity. Raises: ``ValueError`` naming the first."""
        stored = self._embeddings[start : start + self.manifest.block_rows]
        wrong, words = without_similarity(stored, self.manifest.similarity)
        if wrong.any():
            raise Mistake(
                f"{int(wrong.sum())} of {len(stored)} embeddings in {self._paths[EMBEDDINGS]} are {words}, first row "
                f"{start + int(wrong.argmax())}; {REPAIR}."
            )

    @cached_property
    def table(self) -> pa.Table:
        """The rows' id, label, path and content."""
        return self._read_rows(None)

    @cached_property
    def ids(self) -> Int64[np.ndarray, "row"]:
        """The id of every row."""
        ids: Int64[np.ndarray, "row"] = self.column("id").to_numpy()
        return ids

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the ``id``, ``label``, ``path`` or ``content`` of every row; the other columns are not read."""
        return self.table[name] if "table" in self.__dict__ else self._read_rows([name])[name]

    def _read_rows(self, columns: list[str] | None) -> pa.Table:
        if not self._rows_verified:
            _check(self._paths[ROWS], self._rows_file, self.manifest.rows_sha256)
            self._rows_verified = True
        return read_rows(self._paths[ROWS], self._rows_file, columns, self.manifest.notes.get(LABELS, NAMES))

    def labels(self, indices: Int64[np.ndarray, "row"] | None = None) -> list[str | None]:
        """Return the labels of the rows at these positions, or of all; None where a row has none."""
        return self._texts("label", indices)

    def paths(self, indices: Int64[np.ndarray, "row"] | None = None) -> list[str | None]:
        """Return the paths of the rows at these positions, as they were given, or of all."""
        return self._texts("path", indices)

    def _texts(self, column: str, indices: Int64[np.ndarray, "row"] | None) -> list[str | None]:
        values = self.table[column]
        texts: list[str | None] = (values if indices is None else values.take(pa.array(indices))).to_pylist()
        return texts

    def expect(
        self,
        encoder: str | None = None,
        channels: int | None = None,
        similarity: str | None = None,
        preprocessing: str | None = None,
    ) -> None:
        """Refuse the bank when it was made with anything else; what is None is not compared.

        Raises: ``ValueError`` with both values.
        """
        asked = {"encoder": encoder, "channels": channels, "similarity": similarity, "preprocessing": preprocessing}
        for name, value in asked.items():
            if value is not None and value != getattr(self.manifest, name):
                raise another(self.directory, name, getattr(self.manifest, name), value)


def another(directory: Path, what: str, made: object, asked: object) -> Mistake:
    """Return the error about a bank that was made with something else than is asked for."""
    return Mistake(
        f"the bank {directory} was built with {what} {made!r}, "
        f"but {asked!r} is asked for; use the former or build the bank again."
    )


def open_bank(directory: Path) -> StoredBank:
    """Open the current version of a bank: its manifest and sizes are checked now, its rows when they are read.

    Raises: ``FileNotFoundError`` when there is no bank or a file of it is missing, ``ValueError`` when a file is
    damaged or of an unknown format; the sentence names the file.
    """
    for _ in range(TRIES):
        pointer = read_pointer(directory)
        try:
            return StoredBank(directory, pointer.version, _read_manifest(directory, pointer))
        except (FileNotFoundError, ValueError):
            if read_pointer(directory) == pointer:
                raise
    raise Mistake(f"the bank {directory} was replaced {TRIES} times while it was opened; try again.")


def _read_manifest(directory: Path, pointer: Pointer) -> Manifest:
    path = directory / pointer.version / MANIFEST
    if not path.is_file():
        raise MissingFile(f"expected {path}, a file of the memory bank, but it is missing; {REPAIR}.")
    _expect_own_file(path)
    if path.stat().st_size > LONGEST_MANIFEST:
        raise Mistake(f"expected {path} to have at most {LONGEST_MANIFEST} bytes, but it has more; {REPAIR}.")
    text = path.read_bytes()
    _check(path, text, pointer.manifest_sha256)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or error.errors()[0]["msg"]
        raise Mistake(
            f"{path} is of another format than this version of the software reads ({where}); "
            "update the software or build the bank again."
        ) from error


def _mapped(path: Path, size: int) -> mmap.mmap:
    if not path.is_file():
        raise MissingFile(f"expected {path}, a file of the memory bank, but it is missing; {REPAIR}.")
    _expect_own_file(path)
    with path.open("rb") as file:
        found = file.seek(0, 2)
        if found != size:
            raise Mistake(f"expected {path} to have {size} bytes, but it has {found}; {REPAIR}.")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _expect_own_file(path: Path) -> None:
    """Refuse a link, which may lead to any file of the machine. Raises: ``ValueError``."""
    if path.is_symlink():
        raise Mistake(f"{path} is a link that leads out of the bank; {REPAIR}.")


def _check(path: Path, data: memoryview | mmap.mmap | bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise Mistake(f"{path} is damaged or not of this bank: its SHA-256 is not the recorded one; {REPAIR}.")
