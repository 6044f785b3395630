"""Banks that somebody else has made: whatever they hold, their hashes are right."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from retrieval_explain import MemoryBank
from retrieval_explain.store.embeddings_file import header

ROWS, CHANNELS = 5, 4
TEXT = pa.string()
TABLE = pa.table(
    {"id": range(ROWS), "label": list("abcab"), "path": [f"{row}.png" for row in range(ROWS)]},
    schema=pa.schema([("id", pa.int64()), ("label", TEXT), ("path", TEXT)]),
)


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def forged(
    directory: Path,
    table: pa.Table | bytes | None = None,
    embeddings: np.ndarray | None = None,
    text: bytes | None = None,
    **manifest: Any,
) -> Path:
    """Write a bank with another table, other embeddings or other values in its manifest, and make the hashes right.

    ``text`` takes the place of the whole manifest.
    """
    MemoryBank.from_embeddings(torch.eye(ROWS, CHANNELS) + 1, list("abcab")).save(directory)
    folder = next(directory.glob("version-*"))
    values = json.loads((folder / "manifest.json").read_text())
    if table is not None:
        if isinstance(table, bytes):
            (folder / "rows.parquet").write_bytes(table)
        else:
            pq.write_table(table, folder / "rows.parquet", compression="zstd")
        data = (folder / "rows.parquet").read_bytes()
        values |= {"rows_bytes": len(data), "rows_sha256": digest(data)}
    if embeddings is not None:
        data = embeddings.astype(np.float32).tobytes()
        first = header("float32", *embeddings.shape)
        (folder / "embeddings.safetensors").write_bytes(first + data)
        values |= {"rows": len(embeddings), "header_sha256": digest(first), "block_sha256": [digest(data)]}
    written = json.dumps(values | manifest).encode() if text is None else text
    (folder / "manifest.json").write_bytes(written)
    (directory / "CURRENT").write_text(f"{folder.name} {digest(written)}\n")
    return directory


def use(directory: Path) -> tuple[Any, ...]:
    """Open a bank, search it, and return its ids, labels and first path."""
    bank = MemoryBank.load(directory)
    bank.search(torch.ones(1, bank.rows.shape[1]), 2)
    return bank.ids, bank.labels, bank.paths[0]


def column(name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    """Return the table with other values in one column."""
    return TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values, kind))


def with_row(value: float) -> np.ndarray:
    """Return embeddings of which one row holds this number only."""
    embeddings = np.ones((ROWS, CHANNELS))
    embeddings[3, :] = value
    return embeddings


def twice(name: str) -> pa.Table:
    """Return the table with one column doubled."""
    return TABLE.append_column(name, TABLE[name])


MANIFESTS: dict[str, dict[str, Any]] = {
    f"{name} {str(value)[:12]}": {name: value}
    for name, wrong in {
        "rows": (-1, 0, 4, 6, True, 5.0, 2**63, 1e300, float("nan"), None, "5", [5]),
        "channels": (-4, 0, 2, 8, 2**40, True, 4.0, None, "4"),
        "block_rows": (0, -1, 1, None, 2**70, True, "8"),
        "dtype": ("float16", "float64", "object", ">f4", "|V4", None, 4, ["float32"]),
        "format": (0, 2, "1", None, True, 1.5),
        "rows_bytes": (-1, 0, 2**60, None, 1.5),
        "rows_sha256": ("", "0" * 64, "../" * 20, None, 7),
        "header_sha256": ("", "0" * 64, "G" * 64, None),
        "block_sha256": ([], ["0"], ["0" * 64], ["0" * 64, "0" * 64], None, "0" * 64, {}),
        "similarity": (None, 3, "", "cosin", "x" * 200_000, ["cosine"]),
        "encoder": (None, 3, "x" * 200_000, {}),
        "preprocessing": (None, 3, "x" * 200_000),
        "versions": (None, [], {"torch": 2}, "2"),
        "notes": (None, [], "x", {"labels": "colors"}, {"labels": 1}, {"labels": "numbers"}, {"labels": None}),
        "unknown": (1,),
    }.items()
    for value in wrong
}
TABLES: dict[str, dict[str, Any]] = {
    "fewer rows": {"table": TABLE.slice(1)},
    "more rows": {"table": pa.concat_tables([TABLE, TABLE])},
    "no rows": {"table": TABLE.slice(0, 0)},
    "no columns": {"table": TABLE.select([])},
    **{f"no {name}": {"table": TABLE.drop_columns([name])} for name in TABLE.column_names},
    **{f"{name} twice as a column": {"table": twice(name)} for name in TABLE.column_names},
    "ids as texts": {"table": column("id", list("12345"))},
    "ids of 32 bits": {"table": column("id", range(ROWS), pa.int32())},
    "ids without sign": {"table": column("id", range(ROWS), pa.uint64())},
    "ids as floats": {"table": column("id", [0.0, 1.0, 2.0, 3.0, 4.0])},
    "ids as lists": {"table": column("id", [[0], [1], [2], [3], [4]])},
    "labels as numbers": {"table": column("label", range(ROWS))},
    "labels as lists": {"table": column("label", [["a"]] * ROWS)},
    "labels as bytes": {"table": column("label", [b"\xff"] * ROWS, pa.binary())},
    "paths as bytes": {"table": column("path", [b"\xff"] * ROWS, pa.binary())},
    "paths as truth": {"table": column("path", [True] * ROWS)},
    "paths as structs": {"table": column("path", [{"a": 1}] * ROWS)},
    "contents as numbers": {"table": TABLE.append_column("content", pa.array(range(ROWS)))},
    "ids twice": {"table": column("id", [0, 1, 1, 3, 4])},
    "no id in a row": {"table": column("id", [0, 1, None, 3, 4], pa.int64())},
    "no id at all": {"table": column("id", [None] * ROWS, pa.int64())},
    "numbered labels beyond 64 bits": {"table": column("label", ["9" * 30] * ROWS), "notes": {"labels": "numbers"}},
    "numbered labels with a point": {"table": column("label", ["1.5"] * ROWS), "notes": {"labels": "numbers"}},
    "an empty file": {"table": b""},
    "text": {"table": b"id,label,path\n0,a,0.png\n"},
    "Parquet's ends alone": {"table": b"PAR1PAR1"},
    "an encrypted footer": {"table": b"PARE" + b"\0" * 40 + b"\x10\0\0\0PARE"},
    "a footer of 2 GB": {"table": b"PAR1" + b"\0" * 40 + b"\xff\xff\xff\x7fPAR1"},
    "a footer of noise": {"table": b"PAR1" + np.random.default_rng(0).bytes(60) + b"\x3c\0\0\0PAR1"},
}
VALUES: dict[str, dict[str, Any]] = {
    "not a number": {"embeddings": with_row(np.nan)},
    "infinite": {"embeddings": with_row(np.inf)},
    "minus infinite": {"embeddings": with_row(-np.inf)},
    "zero": {"embeddings": with_row(0)},
    "minus zero": {"embeddings": with_row(-0.0)},
    "all zero": {"embeddings": np.zeros((ROWS, CHANNELS))},
    "all not a number": {"embeddings": np.full((ROWS, CHANNELS), np.nan)},
}
REFUSED = MANIFESTS | TABLES | VALUES
TAKEN: dict[str, dict[str, Any]] = {
    "as it should be": {"table": TABLE},
    "no label anywhere": {"table": column("label", [None] * ROWS, TEXT)},
    "no path anywhere": {"table": column("path", [None] * ROWS, TEXT)},
    "empty labels and paths": {"table": column("label", [""] * ROWS)},
    "ids at the ends of 64 bits": {"table": column("id", [-(2**63), -1, 0, 1, 2**63 - 1])},
    "paths that lead out": {"table": column("path", ["../../../etc/passwd", "/dev/zero", "~", ".", "a\0b"])},
    "labels with markup": {"table": column("label", ["[/b]", "\x1b[2J", "<script>", "=1+1", "\u202e"])},
    "another column": {"table": TABLE.append_column("x", pa.array(range(ROWS)))},
    "an index's record of noise": {"notes": {"labels": "names", "indexes": {"ivf": 7, "hnsw": {"sha256": "../x"}}}},
    "indexes of another kind": {"notes": {"indexes": "x"}},
    "very small numbers": {"embeddings": with_row(1e-40)},
    "very large numbers": {"embeddings": with_row(3e38)},
}
