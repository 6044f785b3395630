"""SHA-256 of a stream in blocks, so that a mapped file can be checked piece by piece as it is read."""

import hashlib
from pathlib import Path

BLOCK_BYTES = 1 << 20


def rows_per_block(row_bytes: int) -> int:
    """Return how many whole rows of embeddings make one block, about 1 MiB and at least one row."""
    return max(1, BLOCK_BYTES // row_bytes)


class BlockHashes:
    """The SHA-256 of every block of a stream whose bytes arrive in pieces of any size."""

    def __init__(self, block_bytes: int) -> None:
        self.block_bytes = block_bytes
        self._finished: list[str] = []
        self._open = hashlib.sha256()
        self._open_bytes = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take in the next bytes of the stream."""
        rest = memoryview(data).cast("B") if len(data) else memoryview(b"")
        while len(rest):
            taken = rest[: self.block_bytes - self._open_bytes]
            self._open.update(taken)
            self._open_bytes += len(taken)
            rest = rest[len(taken) :]
            if self._open_bytes == self.block_bytes:
                self._finished.append(self._open.hexdigest())
                self._open, self._open_bytes = hashlib.sha256(), 0

    @property
    def finished(self) -> int:
        """How many blocks are whole."""
        return len(self._finished)

    def digests(self, start: int = 0) -> list[str]:
        """Return the hashes in hex from block ``start`` on, the last block as far as it has come."""
        unfinished = [self._open.hexdigest()] if self._open_bytes else []
        return [*self._finished[start:], *unfinished]


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
