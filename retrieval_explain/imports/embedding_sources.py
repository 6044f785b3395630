"""Embeddings that other software has left in a file, read piece by piece.

Formats: ``.npy``, Parquet, ``.safetensors`` and PyTorch's, whose live objects are read as data. Layouts: a row for
each image (NPID's memory, Wu et al. 2018), or a column (MoCo's queue, He et al. 2020).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from torch import Tensor

from episodes.errors import MissingFile, Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.weights.checkpoint import read_content
from fsl_explain.backbones.weights.pickle_names import Inert
from retrieval_explain.settings import LAYOUTS

KEYS = ("embeddings", "module.queue", "queue", "module.memory", "memory", "lemniscate.memory")
COLUMN = "embedding"
PIECE_BYTES = 1 << 24
DEEPEST, LONGEST, MOST = 64, 1000, 1_000_000  # levels above a tensor, letters of its name, entries of a file
UNIT = 1e-2  # how far from 1 the length of a queue's entries may lie; some are kept in float16


@dataclass(frozen=True)
class Piece:
    """Some rows, with what the file says of them; None where it says nothing."""

    embeddings: Shaped[np.ndarray, "row channel"]
    ids: Shaped[np.ndarray, "row"] | None = None
    labels: list[str | None] | None = None
    paths: list[str | None] | None = None


@dataclass(frozen=True)
class EmbeddingSource:
    """How many embeddings a file holds, and how to read them in order, about 16 MiB at a time."""

    rows: int
    channels: int
    pieces: Callable[[], Iterator[Piece]]
    numbered: bool = False  # its labels are numbers


def open_source(file: str | Path, layout: str = "auto", key: str | None = None) -> EmbeddingSource:
    """Open a file of embeddings without reading them.

    ``key`` names the tensor, or the column of a Parquet table (``embedding``); None takes MoCo's or NPID's, or the
    only matrix there is. ``layout`` of ``auto`` takes columns where the name ends in "queue" and its columns are the
    ones of length 1.

    Raises: ``FileNotFoundError``; ``ValueError`` for a file that is damaged, of another kind, or a pickle that wants
    to run code; ``LookupError`` for an unknown layout or key.
    """
    path = Path(file)
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if not path.is_file():
        raise MissingFile(f"expected a file of embeddings, but {path} does not exist.")
    if path.suffix == ".parquet":
        return _parquet(path, layout, key or COLUMN)
    if path.suffix not in OPENERS:
        raise Mistake(
            f"expected embeddings in a file {', '.join(OPENERS)} or .parquet, but got {path.name}; convert it."
        )
    name, matrix = OPENERS[path.suffix](path, key)
    shape = tuple(matrix.get_shape()) if hasattr(matrix, "get_shape") else tuple(matrix.shape)
    if len(shape) != 2 or 0 in shape:
        raise Mistake(f"expected a matrix of embeddings, but {name} of {path} has shape {shape}; name another key.")
    kind = _array(matrix[:1]).dtype
    if kind.kind not in "fiu":
        raise Mistake(f"expected a matrix of real numbers, but {name} of {path} is of {kind}; convert it.")
    return _matrix(matrix, shape, _in_columns(matrix, name, layout, path))


def _matrix(matrix: Any, shape: tuple[int, ...], in_columns: bool) -> EmbeddingSource:
    rows, channels = shape[::-1] if in_columns else shape
    step = max(1, PIECE_BYTES // (4 * channels))

    def pieces() -> Iterator[Piece]:
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            yield Piece(_array(matrix[:, start:stop]).T if in_columns else _array(matrix[start:stop]))

    return EmbeddingSource(rows, channels, pieces)


def _array(part: Any) -> Shaped[np.ndarray, "..."]:
    """Return a part of a matrix as an array; types that NumPy does not know become float32."""
    if isinstance(part, Tensor):
        return (part.float() if part.dtype == torch.bfloat16 else part).detach().numpy()
    return np.asarray(part)


def _in_columns(matrix: Any, name: str, layout: str, path: Path) -> bool:
    if layout != "auto":
        return layout == "columns"
    if not name.endswith("queue"):
        return False
    values = _array(matrix[:]).astype(np.float32)
    for axis in (0, 1):
        if np.abs(np.linalg.norm(values, axis=axis) - 1).max() < UNIT:
            return axis == 0
    raise Mistake(
        f"expected {name} of {path} to hold embeddings of length 1, but neither its columns nor its rows have it; "
        "say with the layout which they are, columns or rows."
    )


def _npy(path: Path, key: str | None) -> tuple[str, Any]:  # noqa: ARG001 - a file of one array has no keys
    try:
        return path.name, np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, OverflowError, TypeError) as error:
        raise Mistake(f"expected an array of numbers, but {path} cannot be read ({error}); save it again.") from error


def _safetensors(path: Path, key: str | None) -> tuple[str, Any]:
    try:
        file: Any = safe_open(path, framework="pt")
        names = list(file.keys())
        matrices = [name for name in names if len(file.get_slice(name).get_shape()) == 2]
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"expected a safetensors file, but {path} cannot be read ({error}); download it again."
        ) from error
    name = _chosen(key, names, matrices, path)
    return name, file.get_slice(name)


def _torch(path: Path, key: str | None) -> tuple[str, Any]:
    tensors = _tensors(read_content(path, mapped=True), path)
    name = _chosen(key, list(tensors), [name for name, tensor in tensors.items() if tensor.dim() == 2], path)
    return name, tensors[name]


OPENERS = {".npy": _npy, ".safetensors": _safetensors, ".pt": _torch, ".pth": _torch, ".tar": _torch}


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Return every tensor of nested mappings and modules, its keys joined by dots; a state dict's without its name.

    A mapping that stands in several places is listed at the first.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if depth > DEEPEST or len(name) > LONGEST or len(waiting) + len(found) > MOST:
            raise Mistake(
                f"expected a matrix of embeddings in {path}, but its content is nested too deeply or holds more than "
                f"{MOST} entries; save the matrix by itself."
            )
        parts = value.parts() if isinstance(value, Inert) else value
        if isinstance(value, Tensor):
            found[name or "tensor"] = value
        elif isinstance(parts, Mapping) and id(value) not in seen:
            seen.add(id(value))
            inner = [(_joined(name, key), part, depth + 1) for key, part in parts.items()]
            waiting += reversed(inner)
    return found


def _joined(prefix: str, key: object) -> str:
    return str(key) if prefix in ("", "state_dict") else f"{prefix}.{key}"


def _chosen(key: str | None, names: list[str], matrices: list[str], path: Path) -> str:
    """Return the name that was asked for, the first of the known banks' names, or the only matrix."""
    if key is not None and key not in names:
        raise unknown_name(f"tensor of {path.name}", key, names)
    name = key or next((known for known in KEYS if known in names), None)
    if name is None and len(matrices) != 1:
        raise Mistake(
            f"expected one matrix of embeddings in {path}, but it holds {len(matrices)}; name one of them as the key."
        )
    return name or matrices[0]


def _parquet(path: Path, layout: str, column: str) -> EmbeddingSource:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    schema = file.schema_arrow
    if column not in schema.names:
        raise unknown_name(f"column of {path.name}", column, schema.names)
    if layout == "columns":
        raise Mistake(f"expected layout rows for the Parquet table {path}, but got columns; each row is an image.")
    kept = [name for name in ("id", "label", "path") if name in schema.names]
    for name in ("label", "path"):
        _expect_texts(schema, name, path)

    def pieces() -> Iterator[Piece]:
        start = 0
        for batch in _batches(file, max(1, PIECE_BYTES // (4 * channels)), [column, *kept], path):
            yield _piece(batch, column, channels, path, start)
            start += len(batch)

    channels = _channels(file, column, path)
    numbered = "label" in kept and pa.types.is_integer(schema.field("label").type)
    return EmbeddingSource(file.metadata.num_rows, channels, pieces, numbered)


def _batches(file: pq.ParquetFile, rows: int, columns: list[str], path: Path) -> Iterator[pa.RecordBatch]:
    """Yield so many rows at a time. Raises: ``ValueError`` where the file is damaged there."""
    try:
        yield from file.iter_batches(rows, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> Mistake:
    said = str(error).splitlines() or [type(error).__name__]
    return Mistake(f"expected a Parquet table, but {path} cannot be read ({said[0]}); write it again.")


def _expect_texts(schema: pa.Schema, name: str, path: Path) -> None:
    """Refuse a column of labels or paths that are neither texts nor numbers."""
    kind = schema.field(name).type if name in schema.names else pa.string()
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    if not (is_text or pa.types.is_null(inner) or (name == "label" and pa.types.is_integer(inner))):
        raise Mistake(
            f"expected the column {name} of {path} to hold texts, but it is {kind}; convert it or leave it out."
        )


def _channels(file: pq.ParquetFile, column: str, path: Path) -> int:
    """Return how many numbers the first embedding has."""
    kind = file.schema_arrow.field(column).type
    kind = getattr(kind, "storage_type", kind)
    inner = getattr(kind, "value_type", pa.null())
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise Mistake(f"expected the column {column} of {path} to hold lists of numbers, but it is {kind}.")
    first = next(_batches(file, 1, [column], path), None)
    if first is None or not len(first):
        raise Mistake(f"expected embeddings of at least one image, but {path} has no rows.")
    channels = len(first.column(column)[0].as_py() or ())
    if not channels:
        raise Mistake(f"expected some numbers in each {column} of {path}, but row 0 has none; fix or drop it.")
    return channels


def _piece(batch: pa.RecordBatch, column: str, channels: int, path: Path, start: int) -> Piece:
    lists = batch.column(column)
    lists = getattr(lists, "storage", lists)
    lengths = pc.list_value_length(lists).fill_null(0)
    wrong = pc.index(pc.equal(lengths, channels), False).as_py()
    if wrong >= 0:
        raise Mistake(
            f"expected {channels} numbers in each {column} of {path}, but row {start + wrong} has {lengths[wrong]}; "
            "fix or drop it."
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, channels)
    return Piece(values, _column(batch, "id"), _texts(batch, "label"), _texts(batch, "path"))


def _column(batch: pa.RecordBatch, name: str) -> Shaped[np.ndarray, "row"] | None:
    return batch.column(name).to_numpy(zero_copy_only=False) if name in batch.schema.names else None


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None] | None:
    if name not in batch.schema.names:
        return None
    texts: list[str | None] = batch.column(name).cast(pa.string()).to_pylist()
    return texts
