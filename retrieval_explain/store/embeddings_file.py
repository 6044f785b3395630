"""The file of embeddings: one safetensors tensor that grows by rows and gets its header at the end.

The header has a reserved size, so that the rows start at byte 4096 and can be mapped as they are.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float

from retrieval_explain.store.block_hashes import BlockHashes, rows_per_block

HEADER_BYTES = 4096
SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16"}
TENSOR = "embeddings"
CHUNK_BYTES = 1 << 24
# Windows would else turn line ends into two bytes
OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def header(dtype: str, rows: int, channels: int) -> bytes:
    """Return the 4096 bytes that make what follows the safetensors tensor ``embeddings`` (rows, channels)."""
    size = rows * channels * np.dtype(dtype).itemsize
    entry = {"dtype": SAFETENSORS_NAMES[dtype], "shape": [rows, channels], "data_offsets": [0, size]}
    text = json.dumps({TENSOR: entry}).encode().ljust(HEADER_BYTES - 8)
    return struct.pack("<Q", len(text)) + text


class EmbeddingsFile:
    """A file of embeddings that is being written; ``rows`` counts what is in it.

    A row counts once all of its piece is written: after an error the next write starts at the same place.
    """

    def __init__(self, path: Path, channels: int, dtype: str) -> None:
        self.dtype: np.dtype[np.generic] = np.dtype(dtype)
        self.channels = channels
        self.rows: int = 0
        self._closed = False
        self.row_bytes: int = channels * self.dtype.itemsize
        self.hashes: BlockHashes = BlockHashes(rows_per_block(self.row_bytes) * self.row_bytes)
        self._file = os.open(path, OPEN, 0o644)

    def write(self, embeddings: Float[np.ndarray, "row channel"]) -> None:
        """Write rows behind the ones that are there; they are on the disk after ``sync``."""
        data = np.ascontiguousarray(embeddings, dtype=self.dtype)
        bytes_left = data.reshape(-1).view(np.uint8).data
        offset = HEADER_BYTES + self.rows * self.row_bytes
        while bytes_left:
            written = _write_at(self._file, bytes_left[:CHUNK_BYTES], offset)
            offset, bytes_left = offset + written, bytes_left[written:]
        self.hashes.update(data.reshape(-1).view(np.uint8).data)
        self.rows += len(data)

    def take_over(self, rows: int) -> None:
        """Count the first ``rows`` rows of an earlier writer as written, and cut off what stands behind them."""
        end = HEADER_BYTES + rows * self.row_bytes
        for offset in range(HEADER_BYTES, end, CHUNK_BYTES):
            self.hashes.update(_read_at(self._file, min(CHUNK_BYTES, end - offset), offset))
        os.ftruncate(self._file, end)
        self.rows = rows

    def sync(self) -> None:
        """Wait until every row is on the disk."""
        os.fsync(self._file)

    def finish(self) -> str:
        """Write the header for the rows that are there and close the file; return the header's SHA-256."""
        first = header(self.dtype.name, self.rows, self.channels)
        _write_at(self._file, first, 0)
        os.ftruncate(self._file, HEADER_BYTES + self.rows * self.row_bytes)
        os.fsync(self._file)
        self._close()  # Windows renames no folder with an open file in it
        return hashlib.sha256(first).hexdigest()

    def __enter__(self) -> "EmbeddingsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._file)


def _write_at(handle: int, data: bytes | memoryview, offset: int) -> int:
    """Write at a place, and return how many bytes were written; Windows has no ``pwrite``."""
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, data, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.write(handle, data)


def _read_at(handle: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, count, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, count)
