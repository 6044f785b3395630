"""Banks whose hashes are right and whose values are not: each is refused in one sentence that names the file."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from episodes.errors import Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.store.embeddings_file import HEADER_BYTES

ROWS, CHANNELS = 5, 4
TABLE = pa.table(
    {"id": range(ROWS), "label": list("abcab"), "path": [f"{row}.png" for row in range(ROWS)]},
    schema=pa.schema([("id", pa.int64()), ("label", pa.string()), ("path", pa.string())]),
)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def forged(directory, table=None, embeddings=None, **manifest):
    """Write a bank with another table, other embeddings or other values in its manifest, and make the hashes right."""
    MemoryBank.from_embeddings(torch.eye(ROWS, CHANNELS) + 1, list("abcab")).save(directory)
    folder = next(directory.glob("version-*"))
    values = json.loads((folder / "manifest.json").read_text())
    if table is not None:
        pq.write_table(table, folder / "rows.parquet")
        data = (folder / "rows.parquet").read_bytes()
        values |= {"rows_bytes": len(data), "rows_sha256": digest(data)}
    if embeddings is not None:
        data = embeddings.astype(np.float32).tobytes()
        header = (folder / "embeddings.safetensors").read_bytes()[:HEADER_BYTES]
        (folder / "embeddings.safetensors").write_bytes(header + data)
        values["block_sha256"] = [digest(data)]
    text = json.dumps(values | manifest).encode()
    (folder / "manifest.json").write_bytes(text)
    (directory / "CURRENT").write_text(f"{folder.name} {digest(text)}\n")
    return directory


def use(directory):
    bank = MemoryBank.load(directory)
    bank.search(torch.ones(1, bank.rows.shape[1]), 2)
    return bank.ids, bank.labels, bank.paths[0]


def column(name, values, kind=None):
    return TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values, kind))


def with_row(value):
    embeddings = np.ones((ROWS, CHANNELS))
    embeddings[3, :] = value
    return embeddings


MANIFESTS = {
    f"{name} {str(value)[:12]}": {name: value}
    for name, wrong in {
        "rows": (-1, 4, 6, True, 2**63, 1e300, None, "5"),
        "channels": (-4, 0, 2, 2**40, True, None),
        "block_rows": (0, -1, 1, None, 2**70),
        "dtype": ("float64", "object", None),
        "format": (0, 2, "1", None),
        "rows_bytes": (-1, 0, 2**60, None),
        "rows_sha256": ("", "../" * 20, None),
        "block_sha256": ([], ["0"], ["0" * 64, "0" * 64], None),
        "similarity": (None, 3, "cosin", "x" * 200_000),
        "notes": (None, [], {"labels": "colors"}, {"labels": 1}, {"labels": "numbers"}),
        "unknown": (1,),
    }.items()
    for value in wrong
}
CASES = MANIFESTS | {
    "fewer rows": {"table": TABLE.slice(1)},
    "more rows": {"table": pa.concat_tables([TABLE, TABLE])},
    "no ids": {"table": TABLE.drop_columns(["id"])},
    "no labels": {"table": TABLE.drop_columns(["label"])},
    "no paths": {"table": TABLE.drop_columns(["path"])},
    "ids of another type": {"table": column("id", list("12345"))},
    "labels of another type": {"table": column("label", range(ROWS))},
    "paths of another type": {"table": column("path", [b"\xff"] * ROWS, pa.binary())},
    "ids twice": {"table": column("id", [0, 1, 1, 3, 4])},
    "no id in a row": {"table": column("id", [0, 1, None, 3, 4], pa.int64())},
    "not a number": {"embeddings": with_row(np.nan)},
    "infinite": {"embeddings": with_row(np.inf)},
    "zero": {"embeddings": with_row(0)},
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_bank_is_refused_in_one_sentence(tmp_path, case):
    with pytest.raises(Mistake, match=r"^[^\n]+\.$"):
        use(forged(tmp_path / "bank", **CASES[case]))


def test_an_honest_bank_is_taken(tmp_path):
    assert use(forged(tmp_path / "bank", table=TABLE))[0].tolist() == list(range(ROWS))


@pytest.mark.parametrize("name", ["manifest.json", "rows.parquet", "embeddings.safetensors"])
def test_a_link_out_of_the_bank_is_refused(tmp_path, name):
    path = next(forged(tmp_path / "bank").glob(f"version-*/{name}"))
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    with pytest.raises(Mistake, match="is a link that leads out of the bank"):
        use(tmp_path / "bank")
