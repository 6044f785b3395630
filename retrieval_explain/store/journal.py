"""The journal of an unfinished build: which of its pieces are whole and on the disk.

Each line is a hash and a JSON value: first the settings of the build, then one line for each piece, written
after the piece is on the disk. A last line that a kill cut short counts for nothing.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from episodes.errors import Mistake
from fsl_explain.files import sync
from retrieval_explain.store.bank_rows import with_contents, write_rows
from retrieval_explain.store.block_hashes import sha256_of_file
from retrieval_explain.store.embeddings_file import EmbeddingsFile
from retrieval_explain.store.versions import JOURNAL, UNFINISHED, start_unfinished

REPAIR = "build the bank again without resuming"


class Settings(NamedTuple):
    """What all rows of a bank share."""

    channels: int
    dtype: str
    similarity: str
    encoder: str
    preprocessing: str


class Journal:
    """The pieces of an unfinished build."""

    def __init__(self, folder: Path, pieces: list[dict[str, Any]]) -> None:
        self.folder = folder
        self._pieces = pieces

    @classmethod
    def open(cls, directory: Path, settings: Settings, resume: bool) -> "Journal":
        """Return the journal of the build to resume, or a new one where there is none or it is not asked for.

        Raises: ``ValueError`` when the unfinished build has other settings or its journal is damaged.
        """
        path = directory / UNFINISHED / JOURNAL
        lines = _read(path) if resume and path.is_file() else []
        if not lines:
            folder = start_unfinished(directory)
            _append(path, {"settings": settings._asdict()})
            return cls(folder, [])
        for name, value in settings._asdict().items():
            if lines[0]["settings"][name] != value:
                raise Mistake(
                    f"the unfinished build in {directory} has {name} {lines[0]['settings'][name]!r}, "
                    f"but {value!r} is asked for; use the former or {REPAIR}."
                )
        return cls(directory / UNFINISHED, lines[1:])

    def restore(self, file: EmbeddingsFile) -> None:
        """Let ``file`` go on behind the last whole piece. Raises: ``ValueError`` when a piece is damaged."""
        rows = sum(piece["rows"] for piece in self._pieces)
        file.take_over(rows)
        hashes: list[str] = []
        for number, piece in enumerate(self._pieces):
            hashes[piece["first_block"] :] = piece["block_sha256"]
            path = self._rows_path(number)
            if not path.is_file() or sha256_of_file(path) != piece["rows_sha256"]:
                raise Mistake(f"{path} of the unfinished build is missing or damaged; {REPAIR}.")
        if file.hashes.digests() != hashes:
            raise Mistake(f"the embeddings of the unfinished build in {self.folder} are damaged; {REPAIR}.")

    def keep(
        self, file: EmbeddingsFile, embeddings: list[Float[np.ndarray, "_ channel"]], tables: list[pa.Table]
    ) -> None:
        """Put a piece on the disk, then list it."""
        path = self._rows_path(len(self._pieces))
        write_rows(path, [pa.concat_tables(tables)])
        sync(path)
        first_block = file.hashes.finished
        before = file.rows
        file.write(np.concatenate(embeddings))
        file.sync()
        piece = {
            "rows": file.rows - before,
            "rows_sha256": sha256_of_file(path),
            "first_block": first_block,
            "block_sha256": file.hashes.digests(first_block),
        }
        _append(self.folder / JOURNAL, piece)
        self._pieces.append(piece)

    def tables(self) -> Iterator[pa.Table]:
        """Return the rows of one piece after the other."""
        for number in range(len(self._pieces)):
            yield with_contents(pq.read_table(self._rows_path(number)))

    def _rows_path(self, piece: int) -> Path:
        return self.folder / f"pieces-{piece:06d}.parquet"


def _append(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value)
    whole = path.stat().st_size if path.is_file() else 0
    with path.open("ab") as file:
        try:
            file.write(f"{hashlib.sha256(text.encode()).hexdigest()} {text}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise
    sync(path.parent)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the journal's values; a last line without its end is cut off the file."""
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        os.truncate(path, path.stat().st_size - len(rest))
    values = []
    for line in lines:
        digest, _, text = line.partition(b" ")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            raise Mistake(f"the journal {path} of the unfinished build is damaged; {REPAIR}.")
        values.append(json.loads(text))
    return values
