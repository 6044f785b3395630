"""From a bank's images to their local features: a batch at a time, written aside, and gone on with after a kill."""

import errno
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ValidationError
from torch import Tensor

from episodes import read_image
from episodes.contents import content_of_file
from episodes.errors import DiskFull, MissingFile, Mistake
from fsl_explain.batches import check_batch_size, slices
from fsl_explain.classifiers.local.local_features import features_for, local_features
from fsl_explain.encoder import Encoder, Features
from fsl_explain.files import sync, written_aside
from fsl_explain.progress import Report
from retrieval_explain.local.local_files import (
    HASH,
    LOCK,
    MANIFEST,
    UNFINISHED,
    Described,
    LocalFiles,
    LocalManifest,
    opened,
    ties_of,
)
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.store.encoder_fingerprint import fingerprint, named_with_pooling, preprocessing_text
from retrieval_explain.store.file_lock import locked
from retrieval_explain.store.versions import check_free_space

Kind = TypeVar("Kind", bound=BaseModel)
STAGE = "local features"
APART = 1e-2  # of an embedding's norm: two devices, or float16, differ by less


def build_local(
    encoder: Encoder, bank: MemoryBank, directory: Path, dtype: str, batch_size: int, report: Report
) -> None:
    """Write the local features of every row of a bank to a folder, in place of those that are there.

    An unfinished build of the same settings is gone on with, and rows that have not changed are taken over. Errors as
    ``LocalFeatures.build``.
    """
    check_batch_size(batch_size)
    bank.expect_encoder(encoder)
    _expect_paths(bank)
    made = _described(encoder, bank, dtype)
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / LOCK, f"the local features {directory}"), _no_room_is_one_sentence(directory):
        before = _those_before(directory, made)
        made, done = _begun(directory, made, bank)
        check_free_space(
            directory, (made.rows - done) * made.row_bytes, f"the local features {directory}", "what is done stays"
        )
        report(STAGE, done, made.rows)
        with made.features_in(directory).open("r+b") as features, made.seals_in(directory).open("r+b") as seals:
            features.truncate(len(made.header) + done * made.row_bytes)
            seals.truncate(done * 2 * HASH)
            features.seek(0, 2)
            seals.seek(0, 2)
            for part in slices(made.rows - done, batch_size):
                rows = range(part.start + done, part.stop + done)
                ties = ties_of(bank, rows)
                values = _values(encoder, bank, rows, ties, made, before)
                features.write(b"".join(values))
                features.flush()
                seals.write(b"".join(tie + hashlib.sha256(one).digest() for tie, one in zip(ties, values, strict=True)))
                seals.flush()
                report(STAGE, len(rows), made.rows)
        _publish(directory, made)


def _described(encoder: Encoder, bank: MemoryBank, dtype: str) -> Described:
    """Say what the features will be; the first image tells how many cells and channels there are."""
    first = _seen(encoder, [bank.paths[0]])[1]
    height, width = first.maps.shape[-2:]
    try:
        return Described(
            rows=len(bank),
            channels=first.embedding.shape[-1] // (height * width),
            height=height,
            width=width,
            dtype=dtype,  # type: ignore[arg-type]
            encoder=named_with_pooling(encoder),
            fingerprint=fingerprint(encoder),
            preprocessing=preprocessing_text(encoder),
            name=secrets.token_hex(8),
        )
    except ValidationError as error:
        raise Mistake(f"expected float32 or float16 as the dtype of local features, but got {dtype!r}.") from error


def _begun(directory: Path, made: Described, bank: MemoryBank) -> tuple[Described, int]:
    """Go on with an unfinished build, or begin one; return what it is and how many of its rows are done."""
    record = directory / UNFINISHED
    begun, current = _read(record, Described), _read(directory / MANIFEST, LocalManifest)
    is_whole = begun is not None and current is not None and begun.name == current.features.name  # and is in use
    if begun is not None and not is_whole and begun.rows == made.rows and begun.is_made_alike(made):
        return begun, _rows_done(directory, begun, bank)
    with written_aside(record) as aside:
        aside.write_text(made.model_dump_json(), encoding="utf-8")
    _sweep(directory)
    made.features_in(directory).write_bytes(made.header)
    made.seals_in(directory).write_bytes(b"")
    return made, 0


def _rows_done(directory: Path, begun: Described, bank: MemoryBank) -> int:
    """Return how many rows of an unfinished build are whole and still of the bank's rows; a torn one ends them."""
    for path, start in ((begun.features_in(directory), begun.header), (begun.seals_in(directory), b"")):
        if not path.is_file() or path.stat().st_size < len(start):
            path.write_bytes(start)
    with begun.features_in(directory).open("rb") as features, begun.seals_in(directory).open("rb") as seals:
        if features.read(len(begun.header)) != begun.header:
            begun.features_in(directory).write_bytes(begun.header)
            return 0
        for row in range(begun.rows):
            values, seal = features.read(begun.row_bytes), seals.read(2 * HASH)
            if len(seal) < 2 * HASH or seal != ties_of(bank, [row])[0] + hashlib.sha256(values).digest():
                return row
    return begun.rows


def _those_before(directory: Path, made: Described) -> LocalFiles | None:
    """Return the features that are there already, where they are of the same encoder and type."""
    with suppress(OSError, ValueError):
        found = opened(directory)
        return found if found.described.is_made_alike(made) else None
    return None


def _values(
    encoder: Encoder,
    bank: MemoryBank,
    rows: Sequence[int],
    ties: Sequence[bytes],
    made: Described,
    before: LocalFiles | None,
) -> list[bytes]:
    """Return the bytes of some rows: those that have not changed as they are, the others from their images."""
    kept = {
        row: before.values[row].tobytes()
        for row, tie in zip(rows, ties, strict=True)
        if before is not None and row < before.described.rows and before.fits(row, tie) and before.is_whole(row)
    }
    new = [row for row in rows if row not in kept]
    if new:
        kept |= dict(zip(new, _of_images(encoder, bank, new, made), strict=True))
    return [kept[row] for row in rows]


def _of_images(encoder: Encoder, bank: MemoryBank, rows: Sequence[int], made: Described) -> list[bytes]:
    """Make the local features of some rows from their images."""
    paths = [bank.paths[row] for row in rows]
    _expect_contents(bank, rows)
    whole, found = _seen(encoder, paths)
    _expect_embeddings(bank, rows, whole.embedding)
    values = found.embedding.cpu()
    if values.shape[-1] != made.numbers:
        raise Mistake(
            f"expected {made.numbers} numbers of every image, as of {bank.paths[0]}, but {paths[0]} has "
            f"{values.shape[-1]}; use a preprocessing that gives all images one size."
        )
    with np.errstate(over="ignore"):
        stored = values.numpy().astype(made.dtype)
    if not np.isfinite(stored).all():
        raise Mistake(
            f"the local features of {paths[int((~np.isfinite(stored)).any(axis=1).argmax())]} are not finite in "
            f"{made.dtype}; use float32, or another encoder."
        )
    return [one.tobytes() for one in stored]


def _seen(encoder: Encoder, paths: Sequence[str]) -> tuple[Features, Features]:
    """Return what an encoder makes of images, and their local features, by one forward pass."""
    found = encoder(encoder.preprocess([read_image(path) for path in paths]))
    return found, features_for(found, local_features(encoder))


def _expect_paths(bank: MemoryBank) -> None:
    if not len(bank):
        raise Mistake("expected a bank of at least one image to make local features of, but it is empty; add images.")
    without = [row for row, path in enumerate(bank.paths[:]) if not path]
    if without:
        raise Mistake(
            f"{len(without)} of {len(bank)} rows have no path, first row {without[0]}, but local features are made of "
            "images; give the bank its paths with update."
        )


def _expect_contents(bank: MemoryBank, rows: Sequence[int]) -> None:
    """Refuse a file that is gone or has other bytes than when it was embedded, where that is known."""
    contents = bank.entries.contents
    for row in rows:
        path, held = bank.paths[row], contents[row] if len(contents) else ""
        if not Path(path).is_file():
            raise MissingFile(f"the image {path} of row {row} does not exist; restore it, or remove it from the bank.")
        if held and content_of_file(Path(path)) != held:
            raise Mistake(
                f"the image {path} of row {row} has changed since the bank embedded it; embed it again with "
                "build --append."
            )


def _expect_embeddings(bank: MemoryBank, rows: Sequence[int], found: Float[Tensor, "row channel"]) -> None:
    """Refuse an image that the encoder embeds otherwise than its row; of a bank that says what made it."""
    if not bank.encoder:
        return
    kept = bank.rows.take(torch.tensor(list(rows))).double()
    apart = (found.cpu().double() - kept).norm(dim=-1) > APART * kept.norm(dim=-1)
    if bool(apart.any()):
        row = rows[int(apart.int().argmax())]
        raise Mistake(
            f"the image {bank.paths[row]} is embedded otherwise than row {row} of the bank, which is of another image "
            "or a part of it; build the bank of the whole images."
        )


def _publish(directory: Path, made: Described) -> None:
    """Put the files on the disk and name them; what came before is then removed."""
    for path in (made.features_in(directory), made.seals_in(directory), directory):
        sync(path)
    seals = hashlib.sha256(made.seals_in(directory).read_bytes()).hexdigest()
    with written_aside(directory / MANIFEST) as aside:
        aside.write_text(LocalManifest(features=made, seals_sha256=seals).model_dump_json(indent=1), encoding="utf-8")
    sync(directory)
    (directory / UNFINISHED).unlink(missing_ok=True)
    _sweep(directory)


def _sweep(directory: Path) -> None:
    """Remove the files that neither the manifest nor an unfinished build names."""
    manifest, begun = _read(directory / MANIFEST, LocalManifest), _read(directory / UNFINISHED, Described)
    named = [one for one in (None if manifest is None else manifest.features, begun) if one is not None]
    kept = {path for one in named for path in (one.features_in(directory), one.seals_in(directory))}
    for path in [*directory.glob("features-*.npy"), *directory.glob("seals-*.bin")]:
        if path not in kept:
            with suppress(OSError):  # Windows keeps what somebody reads
                path.unlink()


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    with suppress(OSError, ValueError):
        return kind.model_validate_json(path.read_bytes())
    return None


@contextmanager
def _no_room_is_one_sentence(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, Mistake) or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"the local features {directory} cannot be written ({error.strerror}); what is done stays, free space and "
            "run it again."
        ) from error
