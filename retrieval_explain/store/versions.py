"""The versions of a bank: which one is current, who may write, and the one step that switches.

A bank is a directory. ``CURRENT`` holds the name of one version folder and the SHA-256 of its manifest,
which in turn holds those of the other files. A new version is written aside, put on the disk, and becomes
current by one rename of ``CURRENT``; a kill at any instant leaves the old bank or the new one.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from episodes.errors import DiskFull, MissingFile, Mistake
from fsl_explain.files import patiently, sync
from retrieval_explain.store.file_lock import locked
from retrieval_explain.store.manifest import Manifest

CURRENT, LOCK, UNFINISHED, WRITING, JOURNAL = "CURRENT", ".lock", "unfinished", ".writing", "pieces.journal"
EMBEDDINGS, ROWS, MANIFEST = "embeddings.safetensors", "rows.parquet", "manifest.json"
VERSION = re.compile(r"version-(\d{6,})-[0-9a-f]{8}")
POINTER = re.compile(rb"(version-\d{6,}-[0-9a-f]{8}) ([0-9a-f]{64})\n")
REPAIR = "restore a copy of the bank or build it again"


@dataclass(frozen=True)
class Pointer:
    """The version that is current, and the SHA-256 of its manifest."""

    version: str
    manifest_sha256: str


def read_pointer(directory: Path) -> Pointer:
    """Return which version of the bank is current.

    Raises: ``FileNotFoundError`` when the directory is no bank, ``ValueError`` when ``CURRENT`` is damaged or
    names anything but a version folder of this bank.
    """
    path = directory / CURRENT
    if not path.is_file():
        raise MissingFile(f"expected a memory bank, but {directory} holds no file {CURRENT}; build a bank there first.")
    text = path.read_bytes()[:200]
    found = POINTER.fullmatch(text)
    if found is None:
        raise Mistake(f"{path} names no version of this bank, but {text[:60]!r}; {REPAIR}.")
    name = found[1].decode()
    if (directory / name).is_symlink():
        raise Mistake(f"{directory / name} is a link that leads out of the bank; {REPAIR}.")
    return Pointer(name, found[2].decode())


@contextmanager
def bank_lock(directory: Path) -> Iterator[None]:
    """Be the only writer of a bank while the block runs; the system frees the lock of a killed writer.

    Leftovers of killed writers are removed, except an unfinished build, which may be resumed.
    Raises: ``BlockingIOError`` when another writer is at work.
    """
    with locked(directory / LOCK, f"the bank {directory}"):
        _sweep(directory)
        yield


def _sweep(directory: Path) -> None:
    """Remove what killed writers left. Nothing is removed while ``CURRENT`` cannot be read."""
    try:
        current = read_pointer(directory).version
    except FileNotFoundError:
        current = None
    except ValueError:
        return
    _discard(directory / WRITING)
    for folder in _version_folders(directory):
        if folder.name == current:
            _remove_journal(folder)
        elif (folder / JOURNAL).is_file() and not (directory / UNFINISHED / JOURNAL).is_file():
            _discard(directory / UNFINISHED)
            folder.rename(directory / UNFINISHED)
        elif current is not None:
            _discard(folder)


def publish(directory: Path, folder: Path, manifest: Manifest) -> None:
    """Make the files in ``folder`` the current version of the bank, then remove the older versions.

    Readers that have an older version open keep it until they close it.
    """
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    _write_synced(folder / MANIFEST, text)
    for name in (EMBEDDINGS, ROWS):
        sync(folder / name)
    sync(folder)
    numbers = [int(found[1]) for path in directory.iterdir() if (found := VERSION.fullmatch(path.name))]
    name = f"version-{max(numbers, default=0) + 1:06d}-{secrets.token_hex(4)}"
    patiently(lambda: folder.rename(directory / name))
    sync(directory)
    _write_synced(directory / f".{CURRENT}", f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    patiently(lambda: (directory / f".{CURRENT}").replace(directory / CURRENT))
    sync(directory)
    _remove_journal(directory / name)
    for other in _version_folders(directory):
        if other.name != name:
            _discard(other)


def start_unfinished(directory: Path) -> Path:
    """Return an empty folder for a new build in pieces; an unfinished one that was there is given up."""
    folder = directory / UNFINISHED
    _discard(folder)
    folder.mkdir()
    sync(directory)
    return folder


def start_writing(directory: Path) -> Path:
    """Return an empty folder for a new version that is written in one go."""
    folder = directory / WRITING
    _discard(folder)
    folder.mkdir()
    return folder


def _version_folders(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if VERSION.fullmatch(path.name)]


def _remove_journal(folder: Path) -> None:
    for path in folder.glob("pieces*"):
        path.unlink(missing_ok=True)


def _discard(folder: Path) -> None:
    """Remove a folder, its journal first: what is left by a kill halfway is no build to resume."""
    (folder / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_free_space(
    directory: Path, needed: int, what: str | None = None, state: str = "the bank is as it was"
) -> None:
    """Raise ``OSError`` when the disk of ``directory`` has fewer than ``needed`` bytes free.

    ``what`` is written there, the bank if None, and ``state`` says what is left of it.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise DiskFull(
            f"expected {needed / 1e6:.1f} MB free for {what or f'the bank {directory}'}, but its disk has "
            f"{free / 1e6:.1f} MB; {state}, free space and try again."
        )


@contextmanager
def full_disk_is_one_sentence(directory: Path) -> Iterator[None]:
    """Turn the system's word for a full disk, quota or file size limit into a sentence about the bank."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            (directory / f".{CURRENT}").unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"the disk has no room to write the bank {directory} ({os.strerror(error.errno)}); "
            "the bank is as it was, free space and try again."
        ) from error
