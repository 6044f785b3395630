"""An index kept beside a bank on disk, so that it is built and measured once.

The file in ``indexes`` is only a cache. What it must be is recorded in the bank's manifest, which ``CURRENT`` protects;
its bytes are read once and hashed before FAISS sees them, for a damaged index can end the process. Whatever does not
fit is built again. ``append`` and ``delete`` drop the record with the bank's other notes.
"""

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Rows
from retrieval_explain.search.index import FAISS_VERSION, Index, build_index, write_index
from retrieval_explain.search.kept_index import index_of_rows
from retrieval_explain.search.recall import Verified, verify
from retrieval_explain.store.changes import write_notes
from retrieval_explain.store.files import StoredBank, open_bank

INDEXES = "indexes"
NOTE = "indexes"  # of the manifest: a record for each kind


class Record(BaseModel, extra="forbid", frozen=True, strict=True):
    """What a cached index must be, and the recall it was seen to reach."""

    settings: dict[str, int]
    sha256: str
    bytes: int
    recall: float
    k: int
    queries: int
    asked: float
    embeddings: str  # SHA-256 of the hashes of the rows that it was built from
    versions: dict[str, str]


def cached(stored: StoredBank, rows: Rows, similarity: str | Similarity, kind: str, k: int, recall: float) -> Verified:
    """Return an index for a bank on disk: the one that is kept beside it where it fits, else a new one.

    A kept index fits when its bytes have the recorded hash, and it was verified for the same rows and k with this
    version of FAISS and reached the recall, or missed it before. A new one takes its place; where the bank cannot be
    written to, or has another similarity than the one asked for, it stays in memory.
    """
    if kind == "flat" or not isinstance(similarity, str) or similarity != stored.manifest.similarity:
        return verify(build_index(rows, similarity, kind, k), rows, k, recall)
    kept = _kept(stored, rows, similarity, kind, k, recall)
    if kept is not None:
        return kept
    built = build_index(rows, similarity, kind, k)
    verified = verify(built, rows, k, recall)
    with suppress(OSError, ValueError):
        _keep(stored, verified, built)
    return verified


def _kept(stored: StoredBank, rows: Rows, similarity: str, kind: str, k: int, recall: float) -> Verified | None:
    record = _recorded(_newest(stored).manifest.notes, kind)
    if record is None or record.versions != {"faiss": FAISS_VERSION}:
        return None
    if record.k != k or (record.asked != recall and record.recall < recall):
        return None
    if record.embeddings != _fingerprint(stored):
        return None
    data = read_checked(stored.directory / INDEXES / file_name(kind, record.sha256), record)
    if data is None:
        return None
    index = index_of_rows(data, kind, similarity, record.settings, rows, k)
    if index is None:
        return None
    return Verified(index, record.recall, record.k, record.queries, recall)


def _newest(stored: StoredBank) -> StoredBank:
    """Return the bank as its directory has it now, whose notes may be newer than those of the open one."""
    with suppress(OSError, ValueError):
        return open_bank(stored.directory)
    return stored


def read_checked(path: Path, record: Record) -> bytes | None:
    """Return the bytes of a cached index, or None where they are not exactly the recorded ones."""
    try:
        if path.is_symlink() or path.stat().st_size != record.bytes:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == record.sha256 else None


def _keep(stored: StoredBank, verified: Verified, built: Index) -> None:
    """Write an index aside, name it, and record it in the manifest; nothing of it is used without the record."""
    kind = verified.index.kind
    sha256, size = _write(stored.directory / INDEXES, built)
    record = Record(
        settings=verified.index.settings,
        sha256=sha256,
        bytes=size,
        recall=verified.recall,
        k=verified.k,
        queries=verified.queries,
        asked=verified.asked,
        embeddings=_fingerprint(stored),
        versions={"faiss": FAISS_VERSION},
    )
    current = open_bank(stored.directory)
    if _fingerprint(current) == record.embeddings:  # else the bank was changed meanwhile, and the index is of old rows
        write_notes(stored.directory, {NOTE: _records(current.manifest.notes) | {kind: record.model_dump()}})
    _sweep(open_bank(stored.directory))


def _write(folder: Path, index: Index) -> tuple[str, int]:
    """Put the file of an index in its place; return the SHA-256 and the number of its bytes."""
    folder.mkdir(exist_ok=True)
    aside = folder / f".{index.kind}-{secrets.token_hex(8)}.faiss"
    digest = hashlib.sha256()
    try:
        with aside.open("wb") as file:

            def write(data: bytes) -> int:
                digest.update(data)
                return file.write(data)

            write_index(index, write)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        aside.replace(folder / file_name(index.kind, digest.hexdigest()))
    finally:
        aside.unlink(missing_ok=True)
    return digest.hexdigest(), size


def _sweep(stored: StoredBank) -> None:
    """Remove the files that no record of the current version names."""
    records = {kind: _recorded(stored.manifest.notes, kind) for kind in _records(stored.manifest.notes)}
    named = {file_name(kind, record.sha256) for kind, record in records.items() if record is not None}
    for path in (stored.directory / INDEXES).iterdir():
        if path.name not in named and path.suffix == ".faiss":
            path.unlink(missing_ok=True)


def file_name(kind: str, sha256: str) -> str:
    """Return the name of a cached index; another content has another name, so that no reader meets a half-new file."""
    return f"{kind}-{sha256[:16]}.faiss"


def _records(notes: Mapping[str, Any]) -> dict[str, Any]:
    found = notes.get(NOTE)
    return dict(found) if isinstance(found, Mapping) else {}


def _recorded(notes: Mapping[str, Any], kind: str) -> Record | None:
    try:
        record = Record.model_validate(_records(notes).get(kind))
    except ValidationError:
        return None
    return record if math.isfinite(record.recall) else None


def _fingerprint(stored: StoredBank) -> str:
    manifest = stored.manifest
    parts = (manifest.similarity, manifest.dtype, str(manifest.rows), manifest.header_sha256, *manifest.block_sha256)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
