"""Writing of a bank in pieces: an interrupted build goes on from its last whole piece."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from episodes.errors import Mistake
from retrieval_explain.store.bank_rows import (
    SCHEMA,
    SeenIds,
    Texts,
    check_embeddings,
    rows_table,
    stored_embeddings,
    whole_ids,
    write_rows,
)
from retrieval_explain.store.block_hashes import sha256_of_file
from retrieval_explain.store.embeddings_file import SAFETENSORS_NAMES, EmbeddingsFile
from retrieval_explain.store.journal import Journal, Settings
from retrieval_explain.store.manifest import Manifest
from retrieval_explain.store.versions import (
    CURRENT,
    EMBEDDINGS,
    LOCK,
    ROWS,
    bank_lock,
    check_free_space,
    full_disk_is_one_sentence,
    publish,
)

PIECE_BYTES = 1 << 24
PIECE_SECONDS = 10.0
RECORDED = ("fsl-explain", "numpy", "pyarrow", "safetensors")


class BankWriter:
    """Writes a bank; use it in a ``with`` block, at whose end the new bank replaces the one that was there.

    ``rows`` counts the rows given so far. With ``resume`` it starts at the rows that an interrupted build with
    the same settings has kept, in the order in which they were given; go on with the next one. Rows are kept
    in pieces of 16 MiB or ten seconds, and the rest when the block is left by an error or an interrupt.
    ``expected_rows`` lets a disk that is too small be refused at the start.
    """

    def __init__(
        self,
        directory: Path,
        channels: int,
        dtype: str = "float32",
        similarity: str = "cosine",
        encoder: str = "",
        preprocessing: str = "",
        resume: bool = False,
        expected_rows: int = 0,
    ) -> None:
        if dtype not in SAFETENSORS_NAMES:
            raise Mistake(f"expected dtype float32 or float16 for a bank, but got {dtype!r}.")
        if channels < 1:
            raise Mistake(f"expected embeddings of at least one channel, but got {channels}.")
        self.directory = directory
        self.settings: Settings = Settings(channels, dtype, similarity, encoder, preprocessing)
        self.notes: dict[str, Any] = {}
        self._resume = resume
        self._expected_bytes = expected_rows * channels * np.dtype(dtype).itemsize
        self._seen = SeenIds()
        self._buffer: list[tuple[Shaped[np.ndarray, "row channel"], pa.Table]] = []
        self._buffered_rows = 0
        self._stopped = False

    def __enter__(self) -> "BankWriter":
        _claim(self.directory)
        if not self._resume:
            check_free_space(self.directory, self._expected_bytes)
        with ExitStack() as stack:
            stack.enter_context(bank_lock(self.directory))
            with full_disk_is_one_sentence(self.directory):
                self._journal = Journal.open(self.directory, self.settings, self._resume)
                path = self._journal.folder / EMBEDDINGS
                self._file = stack.enter_context(EmbeddingsFile(path, self.settings.channels, self.settings.dtype))
                self._journal.restore(self._file)
            check_free_space(self.directory, self._expected_bytes - self._file.rows * self._file.row_bytes)
            for table in self._journal.tables():
                self._seen.add(table["id"].to_numpy())
            self._stack = stack.pop_all()
        self._last_piece = time.monotonic()
        return self

    @property
    def rows(self) -> int:
        """How many rows have been given, those of the resumed build included."""
        return self._file.rows + self._buffered_rows

    def kept_rows(self) -> pa.Table:
        """Return the id, label, path and content of the rows that are kept on the disk."""
        return pa.concat_tables([SCHEMA.empty_table(), *self._journal.tables()])

    def add(
        self,
        embeddings: Shaped[np.ndarray, "*shape"],
        ids: Sequence[int] | Shaped[np.ndarray, "row"] | None = None,
        labels: Texts = None,
        paths: Texts = None,
        contents: Texts = None,
    ) -> None:
        """Add rows to the bank; ids that are not given go on from the largest so far.

        ``contents`` are those of ``contents.content_of``.

        Raises: ``ValueError`` for a wrong dimension, zero (cosine) or non-finite rows or an id that is taken;
        then none of these rows is added. ``OSError`` when the disk is full.
        """
        stored = stored_embeddings(embeddings, self.settings.channels, self.settings.dtype)
        numbers = np.arange(self._seen.next_id, self._seen.next_id + len(stored)) if ids is None else whole_ids(ids)
        table = rows_table(len(stored), numbers, labels, paths, contents)
        check_embeddings(stored, self.settings.similarity, table)
        self._seen.add(numbers)
        self._buffer.append((stored if stored is not embeddings else stored.copy(), table))
        self._buffered_rows += len(stored)
        full = self._buffered_rows * self._file.row_bytes >= PIECE_BYTES
        if full or time.monotonic() - self._last_piece >= PIECE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Keep what was added: it survives a kill from here on."""
        if self._stopped:
            raise Mistake(
                f"writing of the bank {self.directory} stopped at an error; open it again with resume to go on from "
                "the rows that are kept."
            )
        if not self._buffered_rows:
            return
        check_free_space(self.directory, 2 * self._buffered_rows * self._file.row_bytes)
        self._stopped = True
        with full_disk_is_one_sentence(self.directory):
            self._journal.keep(self._file, [stored for stored, _ in self._buffer], [table for _, table in self._buffer])
        self._stopped = False
        self._buffer, self._buffered_rows = [], 0
        self._last_piece = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self.flush()
                with full_disk_is_one_sentence(self.directory):
                    self._finish()
            elif not self._stopped:
                with suppress(OSError):
                    self.flush()

    def _finish(self) -> None:
        folder = self._journal.folder
        write_rows(folder / ROWS, self._journal.tables())
        publish(self.directory, folder, manifest_of(self.settings, self._file, folder / ROWS, self.notes))


def manifest_of(settings: Settings, file: EmbeddingsFile, rows_path: Path, notes: dict[str, Any]) -> Manifest:
    """Finish the file of embeddings and describe it and the file of rows."""
    return Manifest(
        rows=file.rows,
        block_rows=file.hashes.block_bytes // file.row_bytes,
        header_sha256=file.finish(),
        block_sha256=tuple(file.hashes.digests()),
        rows_bytes=rows_path.stat().st_size,
        rows_sha256=sha256_of_file(rows_path),
        versions={name: version(name) for name in RECORDED},
        notes=notes,
        **settings._asdict(),
    )


def _claim(directory: Path) -> None:
    """Make the directory of a bank; one that holds other things is refused."""
    if directory.exists() and not directory.is_dir():
        raise Mistake(f"expected a directory for the bank, but {directory} is a file.")
    directory.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in directory.iterdir()}
    if names and not names & {CURRENT, LOCK}:
        raise Mistake(f"expected a new directory or a bank, but {directory} holds other files, such as {min(names)}.")
