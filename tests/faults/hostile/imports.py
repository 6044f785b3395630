"""Embeddings by somebody else, imported: files that are cut, of another kind, or of values that are no embeddings."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from faults.hostile.runner import Case, answered
from safetensors.numpy import save_file

import retrieval_explain.cli.import_bank  # noqa: F401  once, for all the processes
from retrieval_explain.cli.app import run

ROWS, CHANNELS = 6, 4


def cases(folder: Path) -> Iterator[Case]:
    """Yield each file imported by the command, and an honest one."""
    for name, write in SOURCES.items():
        yield f"import of {name}", partial(_imported, folder, write), "refused"
    yield "an honest import", partial(_imported, folder, _honest), "taken"


def _imported(folder: Path, write: Callable[[Path], Path]) -> str:
    source = write(folder)
    return answered(run, "import", str(source), "--bank", str(folder / "imported.bank"))


def _npy(name: str, values: Any, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"{name}.npy"
        np.save(path, values, **options)
        return path

    return write


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def _parquet(name: str, **columns: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


def _tensors(name: str, **values: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"{name}.safetensors"
        save_file(values, path)
        return path

    return write


def _with(value: float) -> Any:
    rows = np.ones((ROWS, CHANNELS), np.float32)
    rows[2] = value
    return rows


def _honest(folder: Path) -> Path:
    return _npy("honest", torch.eye(ROWS, CHANNELS).numpy() + 1)(folder)


SOURCES = {
    "objects": _npy("objects", np.array([{}, []], dtype=object), allow_pickle=True),
    "texts": _npy("texts", np.array([["a", "b"]])),
    "complex numbers": _npy("complex", np.ones((ROWS, CHANNELS), complex)),
    "truth values": _npy("bool", np.ones((ROWS, CHANNELS), bool)),
    "dates": _npy("dates", np.zeros((ROWS, CHANNELS), "datetime64[s]")),
    "a number": _npy("number", np.float32(1)),
    "one vector": _npy("vector", np.ones(4, np.float32)),
    "three dimensions": _npy("cube", np.ones((2, 2, 2), np.float32)),
    "no rows": _npy("no-rows", np.ones((0, 4), np.float32)),
    "no channels": _npy("no-channels", np.ones((4, 0), np.float32)),
    **{f"a row of {value}": _npy(f"row{value}", _with(value)) for value in (0.0, float("nan"), float("inf"))},
    "an empty file": _bytes("empty.npy", b""),
    "a cut header": _bytes("cut.npy", b"\x93NUMPY\x01\x00v\x00{'descr': "),
    "a header of another size": _bytes("size.npy", b"\x93NUMPY\x01\x00\xff\xff{}"),
    "a header that is code": _bytes("code.npy", b"\x93NUMPY\x01\x00\x20\x00__import__('os').getpid()      \n"),
    "no Parquet": _bytes("none.parquet", b"PAR1 and nothing else PAR1"),
    "no safetensors": _bytes("none.safetensors", b"\xff" * 64),
    "a huge header": _bytes("huge.safetensors", (1 << 60).to_bytes(8, "little") + b"{}"),
    "another ending": _bytes("rows.xyz", b"1,2,3"),
    "a table without embeddings": _parquet("bare", id=[1, 2]),
    "embeddings of two lengths": _parquet("ragged", embedding=[[1.0, 2.0], [1.0]]),
    "embeddings that are missing": _parquet("missing", embedding=[[1.0, 2.0], None]),
    "embeddings that are texts": _parquet("words", embedding=[["a"], ["b"]]),
    "several tensors": _tensors("several", a=np.ones((2, 2), np.float32), b=np.ones((2, 2), np.float32)),
    "whole numbers that are no embeddings": _tensors("vector", a=np.ones(3, np.int64)),
}
