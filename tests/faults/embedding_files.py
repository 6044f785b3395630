"""Files of embeddings with what should become of them: arrays, tables and tensors that are odd, damaged or wrong."""

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from faults.hostile.checkpoints import PROOF, Program
from safetensors.torch import save

ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LISTS = list(ROWS)


def npy(value: Any) -> bytes:
    """Return a .npy file; NumPy writes an array of objects as a pickle, which nothing here reads."""
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def headed(text: bytes, data: bytes = b"\0" * 96, version: int = 1) -> bytes:
    """Return a .npy file with a header of one's own."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def shaped(shape: str, descr: str = "'<f4'") -> bytes:
    """Return a .npy file whose header tells of another shape or type."""
    return headed(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode())


def arrays(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return arrays with what should become of them."""
    other = {"bool": bool, "complex64": np.complex64, "datetime64[s]": "datetime64[s]", "S4": "S4", "U4": "U4"}
    wrong = {f"of {name}": npy(ROWS.astype(np.int64).astype(kind)) for name, kind in other.items()}
    wrong |= {f"of shape {shape}": npy(np.ones(shape, np.float32)) for shape in ((), (4,), (2, 3, 4), (0, 4), (4, 0))}
    wrong |= {f"with {value}": npy(np.where(ROWS[2, 1] == ROWS, value, ROWS)) for value in (np.nan, np.inf, -np.inf)}
    whole, ran = npy(ROWS), f"touch {folder / PROOF}"
    wrong |= {f"cut at {size} bytes": whole[:size] for size in (0, 1, 6, 9, 40, 127, 128, 200)}
    wrong |= {
        "of objects": npy(np.array([[1, 2], [3, None]], dtype=object)),
        "with a program": npy(np.array([[Program(os.system, ran)]], dtype=object)),
        "a pickle": pickle.dumps(ROWS),
        "a row of zeros": npy(np.vstack([ROWS, np.zeros((1, 4), np.float32)])),
        "beyond float32": npy(ROWS.astype(np.float64) * 1e300),
        "of structs": npy(np.zeros((3, 4), dtype=[("a", "f4")])),
        "of bytes without type": npy(np.zeros((3, 4), dtype="V4")),
        "a ZIP": zipped(),
        "version 9": headed(b"{}\n", version=9),
        "no header": headed(b"\n"),
        "a header that calls": headed(f"{{'descr': __import__('os').system({ran!r}), 'shape': (6, 4)}}\n".encode()),
        "a deep header": headed(b"(" * 60_000 + b")" * 5000 + b"\n"),
        "a header of 4 GB": b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b" " * 100,
        "a header of 20 MB": headed(b" " * 20_000_000 + b"\n", version=2),
        "huge": shaped("(2**40, 4)"),
        "huge in numbers": shaped("(1099511627776, 4)"),
        "beyond 64 bits": shaped("(99999999999999999999999, 4)"),
        "negative": shaped("(-6, -4)"),
        "of half a shape": shaped("(6.5, 4)"),
        "of truth values": shaped("(True, 24)"),
        "of an object by its header": shaped("(6, 4)", "'|O'"),
        "of a type that is none": shaped("(6, 4)", "'x9'"),
        "of a list of types": shaped("(6, 4)", "[('a', [('b', '<f4')])]"),
    }
    right = {
        "as it should be": whole,
        "of float16": npy(ROWS.astype(np.float16)),
        "of another byte order": npy(ROWS.astype(">f8")),
        "in Fortran's order": npy(np.asfortranarray(ROWS)),
        "of whole numbers": npy(np.arange(1, 25).reshape(6, 4)),
        "longer than it says": whole + b"more",
    }
    return judged(wrong, right)


def judged(wrong: dict[str, Any], right: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Join what must be refused and what must be taken."""
    return {name: (made, "refused") for name, made in wrong.items()} | {
        name: (made, "taken") for name, made in right.items()
    }


def zipped() -> bytes:
    """Return a .npz file."""
    file = io.BytesIO()
    np.savez(file, ROWS)
    return file.getvalue()


def table(**columns: Any) -> bytes:
    """Return a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def holed(place: int, value: Any) -> list[Any]:
    """Return the lists with another one at a place."""
    return [value if number == place else row.tolist() for number, row in enumerate(ROWS)]


def tables() -> dict[str, tuple[Any, Any]]:
    """Return tables with what should become of them."""
    numbers = pa.list_(pa.float32())
    embeddings = {
        "no embedding in a row": pa.array(holed(2, None), numbers),
        "no embedding in the first": pa.array(holed(0, None), numbers),
        "no number within": pa.array(holed(3, [1.0, None, 2.0, 3.0]), numbers),
        "no number at all": pa.array([[None] * 4] * 6, numbers),
        "a short row": pa.array(holed(4, [1.0]), numbers),
        "a long row": pa.array(holed(4, [1.0] * 5), numbers),
        "an empty row": pa.array(holed(4, []), numbers),
        "empty rows": pa.array([[]] * 6, numbers),
        "rows of null": pa.array([None] * 6, numbers),
        "NaN": pa.array(holed(1, [1.0, float("nan"), 0.0, 0.0]), numbers),
        "infinity": pa.array(holed(1, [1.0, float("inf"), 0.0, 0.0]), numbers),
        "zeros": pa.array(holed(1, [0.0] * 4), numbers),
        "texts": pa.array([["a"] * 4] * 6),
        "truth values": pa.array([[True] * 4] * 6),
        "lists of lists": pa.array([[[1.0], [2.0]]] * 6),
        "structs": pa.array([{"a": 1.0}] * 6),
        "numbers alone": pa.array([1.0] * 6),
        "bytes": pa.array([b"1234"] * 6),
        "decimals": pa.array([[1, 2, 3, 4]] * 6, pa.list_(pa.decimal128(9, 2))),
        "times": pa.array([[1, 2, 3, 4]] * 6, pa.list_(pa.timestamp("s"))),
    }
    wrong = {f"embeddings: {name}": table(embedding=column) for name, column in embeddings.items()}
    ids = {
        "twice": [0, 1, 1, 2, 3, 4],
        "with a gap": [0, 1, None, 2, 3, 4],
        "as texts": list("abcdef"),
        "as fractions": [0.5, 1, 2, 3, 4, 5],
        "that are not a number": [float("nan")] * 6,
        "beyond 64 bits": pa.array([2**64 - 1, 0, 1, 2, 3, 4], pa.uint64()),
        "as truth values": [True] * 6,
        "as lists": [[1]] * 6,
        "as structs": [{"a": 1}] * 6,
        "as times": pa.array(range(6), pa.timestamp("s")),
    }
    wrong |= {f"ids {name}": table(embedding=LISTS, id=values) for name, values in ids.items()}
    odd = {"lists": [["a"]] * 6, "structs": [{"a": 1}] * 6, "bytes that are no text": [b"\xff"] * 6}
    for what, values in odd.items():
        wrong |= {f"{name}s as {what}": table(embedding=LISTS, **{name: values}) for name in ("label", "path")}
    wrong["labels beyond 64 bits"] = table(embedding=LISTS, label=pa.array([2**64 - 1] * 6, pa.uint64()))
    whole = table(embedding=LISTS)
    wrong |= {f"cut at {share} %": whole[: len(whole) * share // 100] for share in (0, 1, 50, 99)}
    wrong |= {
        "without embeddings": table(vector=LISTS),
        "without rows": table(embedding=pa.array([], numbers)),
        "text": b"embedding\n1,2,3\n",
        "a footer of 2 GB": whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        "a footer of noise": whole[:-60] + np.random.default_rng(0).bytes(52) + whole[-8:],
        "pages of noise": whole[:4] + np.random.default_rng(0).bytes(60) + whole[64:],
    }
    right = {
        "as it should be": whole,
        "labels and paths with gaps": table(embedding=LISTS, label=["a", None] * 3, path=[None, "x.png"] * 3),
        "large lists": table(embedding=pa.array(holed(9, None), pa.large_list(pa.float64()))),
        "lists of one size": table(embedding=pa.array(holed(9, None), pa.list_(pa.float32(), 4))),
        "labels in a dictionary": table(embedding=LISTS, label=pa.array(list("ababab")).dictionary_encode()),
    }
    return judged(wrong, right)


def tensors() -> dict[str, tuple[Any, Any]]:
    """Return safetensors with what should become of them."""
    rows = torch.from_numpy(ROWS)
    whole = save({"embeddings": rows})
    size = struct.unpack("<Q", whole[:8])[0]

    def changed(old: bytes, new: bytes) -> bytes:
        text = whole[8 : 8 + size].strip().replace(old, new)
        return struct.pack("<Q", len(text)) + text + whole[8 + size :]

    wrong = {
        "two matrices": save({"a": rows, "b": rows.clone()}),
        "no matrix": save({"a": rows[0].clone()}),
        "nothing": save({}),
        "truth values": save({"embeddings": rows > 0}),
        "complex": save({"embeddings": rows.to(torch.complex64)}),
        "NaN": save({"embeddings": rows * float("nan")}),
        "zeros": save({"embeddings": rows * 0}),
        "no rows": save({"embeddings": rows[:0]}),
        "no channels": save({"embeddings": rows[:, :0].contiguous()}),
        "a queue of no unit length": save({"queue": rows}),
        "a header of 2^63": struct.pack("<Q", 2**63) + b"{}",
        "a deep header": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "a negative shape": changed(b"[6,4]", b"[-6,4]"),
        "another shape": changed(b"[6,4]", b"[7,4]"),
        "a huge shape": changed(b"[6,4]", b"[4611686018427387904,4611686018427387904]"),
        "another type": changed(b"F32", b"F64"),
        "a type that is none": changed(b"F32", b"X"),
        "offsets past the end": changed(b"[0,96]", b"[0,999]"),
        "offsets backward": changed(b"[0,96]", b"[96,0]"),
    }
    wrong |= {f"cut at {share} %": whole[: len(whole) * share // 100] for share in (0, 10, 50, 99)}
    right = {
        "as it should be": whole,
        "bfloat16": save({"embeddings": rows.bfloat16()}),
        "whole numbers": save({"embeddings": torch.arange(1, 25).reshape(6, 4)}),
    }
    return judged(wrong, right)
