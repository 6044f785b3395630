"""Banks from anybody: forged, damaged, of special files, and what commands make of them."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from faults.forged_banks import CHANNELS, REFUSED, ROWS, TABLE, TAKEN, TEXT, digest, forged, use
from faults.hostile.runner import Case, answered
from PIL import Image

import retrieval_explain.cli.audit
import retrieval_explain.cli.inspect
import retrieval_explain.cli.search  # noqa: F401  once, not in the process of each case
from episodes.errors import Mistake
from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run
from retrieval_explain.search.index import FAISS_VERSION

FILES = ("CURRENT", "manifest.json", "rows.parquet", "embeddings.safetensors")
SPECIAL: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "missing": lambda path: None,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "zeros": lambda data: b"\0" * len(data),
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "longer by a byte": lambda data: data + b"\n",
    "another first byte": lambda data: bytes([data[0] ^ 255]) + data[1:],
    "another last byte": lambda data: data[:-1] + bytes([data[-1] ^ 255]),
}
POINTERS = {
    "a way out": b"../../bank ",
    "an absolute path": b"/etc/version-000001-aaaaaaaa ",
    "a version that is not there": b"version-000009-aaaaaaaa ",
    "many digits": b"version-" + b"9" * 5000 + b"-aaaaaaaa ",
    "another alphabet": "version-\u0661\u0662\u0663\u0664\u0665\u0666-aaaaaaaa ".encode(),
    "a NUL": b"version-000001-aaaaaaaa\0 ",
}
MANIFESTS = {
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "an empty object": b"{}",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"notes":' * 100_000,
    "not UTF-8": b'{"rows": "\xff"}',
    "UTF-16": '{"rows": 5}'.encode("utf-16"),
    "a long number": b'{"rows": ' + b"9" * 100_000 + b"}",
    "an infinite number": b'{"rows": Infinity}',
    "half a surrogate": b'{"encoder": "\\ud800"}',
    "a million keys": b"{" + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}",
    "a million hashes that are none": b'{"block_sha256": [' + b",".join([b'"x"'] * 1_000_000) + b"]}",
    "a long text": b'{"encoder": "' + b"x" * 50_000_000 + b'"}',
}


def cases(folder: Path) -> Iterator[Case]:
    """Yield banks that are opened and searched, then those that are given to changes and to commands."""
    numbers = iter(range(100_000))

    def place() -> Path:
        return folder / f"bank-{next(numbers)}"

    for name, changes in REFUSED.items():
        yield f"forged: {name}", partial(opened, place(), **changes), "refused"
    for name, changes in TAKEN.items():
        yield f"forged: {name}", partial(opened, place(), **changes), is_whole
    for name, text in MANIFESTS.items():
        yield f"manifest: {name}", partial(opened, place(), text=text), "refused"
    for name, start in POINTERS.items():
        yield f"CURRENT: {name}", partial(with_pointer, place(), start + b"0" * 64 + b"\n"), "refused"
    for file in FILES:
        for name, make in SPECIAL.items():
            yield f"{file} is {name}", partial(with_special, place(), file, make), "refused"
        for name, damaged in CONTENTS.items():
            yield f"{file} is {name}", partial(with_content, place(), file, damaged), "refused"
    yield from bombs(place)
    yield from indexes(place)
    yield from changes_of(place)
    yield from commands(place, folder)


def opened(directory: Path, **changes: Any) -> tuple[Any, ...]:
    """Forge a bank, open it and search it."""
    return use(forged(directory, **changes))


def is_whole(found: Any) -> bool:
    """Return whether all rows came back."""
    return len(found[0]) == len(found[1]) == ROWS


def with_pointer(directory: Path, text: bytes) -> object:
    """Use a bank whose ``CURRENT`` says something else."""
    (forged(directory) / "CURRENT").write_bytes(text)
    return use(directory)


def with_special(directory: Path, file: str, make: Callable[[Path], object]) -> object:
    """Use a bank of which one file is none."""
    path = file_of(forged(directory), file)
    path.unlink()
    make(path)
    return use(directory)


def with_content(directory: Path, file: str, damaged: Callable[[bytes], bytes]) -> object:
    """Use a bank of which one file has other bytes, which its hashes do not know."""
    path = file_of(forged(directory), file)
    path.write_bytes(damaged(path.read_bytes()))
    return use(directory)


def file_of(directory: Path, file: str) -> Path:
    """Return where a file of a bank lies."""
    return directory / file if file == "CURRENT" else next(directory.glob(f"version-*/{file}"))


def bombs(place: Callable[[], Path]) -> Iterator[Case]:
    """Yield tables of a few kilobytes that hold gigabytes."""

    def exploded(size: int, name: str, rows: int = ROWS) -> object:
        once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * size]))
        none = pa.nulls(rows, TEXT)
        table = pa.table({"id": range(rows), "label": none, "path": none, name: once})
        file = pa.BufferOutputStream()
        pq.write_table(table, file, compression="zstd", store_schema=False, dictionary_pagesize_limit=1 << 30)
        embeddings = np.ones((rows, CHANNELS))
        return opened(place(), table=file.getvalue().to_pybytes(), embeddings=embeddings, block_rows=rows)

    for name in ("label", "path"):
        yield f"{name}s of 100 MB", partial(exploded, 100_000_000, name, 60), "refused"
        yield f"{name}s of 30 MB", partial(exploded, 30_000_000, name, 300), "refused"
        yield f"{name}s of 4000 letters", partial(exploded, 4000, name), is_whole
    yield "100,000 labels of 30,000 letters", partial(exploded, 30_000, "label", 100_000), "refused"


def indexes(place: Callable[[], Path]) -> Iterator[Case]:
    """Yield banks that bring an index of their own, whose hash is right: it is never worse than none."""
    for kind in ("hnsw", "ivf", "ivf-pq"):
        for name, data in {
            "empty": b"",
            "noise": np.random.default_rng(0).bytes(4000),
            "a large count": b"IwFl" + b"\xff" * 200,
            "another kind": b"IxFI" + b"\x04\0\0\0" + b"\x05" + b"\0" * 100,
        }.items():
            yield f"an index {kind}: {name}", partial(with_index, place(), kind, data), finds_all
        yield f"an index {kind} of other rows", partial(with_index, place(), kind, None), finds_all


def with_index(directory: Path, kind: str, data: bytes | None) -> list[int]:
    """Record an index of somebody else's making, then search each row by an index of this kind."""
    rows = torch.randn(300, CHANNELS, generator=torch.Generator().manual_seed(0))
    MemoryBank.from_embeddings(rows).save(directory)
    MemoryBank.load(directory).indexed(kind, k=1)
    manifest = next(directory.glob("version-*/manifest.json"))
    values = json.loads(manifest.read_text())
    record = values["notes"]["indexes"][kind]
    if data is None:
        other = directory.with_name(f"{directory.name}-other")
        MemoryBank.from_embeddings(rows[:50].repeat(6, 1)).save(other)
        MemoryBank.load(other).indexed(kind, k=1)
        data = next((other / "indexes").glob("*.faiss")).read_bytes()
    sha = digest(data)
    (directory / "indexes" / f"{kind}-{sha[:16]}.faiss").write_bytes(data)
    record |= {"sha256": sha, "bytes": len(data), "versions": {"faiss": FAISS_VERSION}}
    text = json.dumps(values).encode()
    manifest.write_bytes(text)
    (directory / "CURRENT").write_text(f"{manifest.parent.name} {digest(text)}\n")
    bank = MemoryBank.load(directory).indexed(kind, k=1)
    found: list[int] = bank.search(rows, 1).indices.flatten().tolist()
    return found


def finds_all(found: Any) -> bool:
    """Return whether nearly every row found itself."""
    return float(np.mean(np.array(found) == np.arange(300))) > 0.9


def changes_of(place: Callable[[], Path]) -> Iterator[Case]:
    """Yield forged banks that are copied or changed: what is not right is not carried over."""
    for name in ("ids twice", "no id in a row", "fewer rows", "not a number", "zero", "rows 6", "an empty file"):
        yield f"saved again: {name}", partial(saved_again, place(), **REFUSED[name]), "refused"


def saved_again(directory: Path, **changes: Any) -> object:
    """Write a forged bank to another place."""
    copy = directory.with_name(f"{directory.name}-copy")
    try:
        MemoryBank.load(forged(directory, **changes)).save(copy)
    except Mistake:
        assert not (copy / "CURRENT").exists(), "half a bank was written"
        raise
    return copy


def commands(place: Callable[[], Path], folder: Path) -> Iterator[Case]:
    """Yield banks that are given to the commands."""
    images = folder / "images"
    for number in range(ROWS):
        path = images / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (84, 84), (40 * number, 200 - 40 * number, 90)).save(path)
    query, good = str(images / "a" / "0.png"), folder / "good"
    answered(run, "build", str(images), "--bank", str(good), "--encoder", "conv4net")
    for command in ("search", "inspect"):
        asked = (command, query, "--encoder", "conv4net", "-k", "3")
        out = ("--out", str(folder / "page.html")) if command == "inspect" else ()
        yield f"{command} as it should be", partial(answered, run, *asked, *out, "--bank", str(good)), "taken"
        for name, paths in {
            "pipes": ["pipe"] * ROWS,
            "devices": ["/dev/zero"] * ROWS,
            "ways out": ["../../../../etc/passwd"] * ROWS,
            "markup": [f"[/b]{number}\x1b[2J.png" for number in range(ROWS)],
            "NUL": ["a\0b"] * ROWS,
            "long names": ["x" * 5000] * ROWS,
            "folders": [str(folder)] * ROWS,
        }.items():
            yield (
                f"{command} with paths that are {name}",
                partial(renamed, place(), good, paths, *asked, *out),
                lambda _: True,
            )
        for name in ("ids twice", "fewer rows", "not a number", "rows 6", "rows_sha256 " + "0" * 12):
            yield f"{command}: {name}", partial(commanded, place(), REFUSED[name], *asked, *out), "refused"
    for name in ("fewer rows", "not a number", "no label anywhere"):
        yield f"audit: {name}", partial(commanded, place(), (REFUSED | TAKEN)[name], "audit"), "refused"


def commanded(directory: Path, changes: dict[str, Any], *arguments: str) -> str:
    """Give a forged bank to a command."""
    return answered(run, *arguments, "--bank", str(forged(directory, **changes)))


def renamed(directory: Path, good: Path, paths: list[str], *arguments: str) -> str:
    """Give a bank whose photographs lie elsewhere to a command; nothing but a photograph may be opened."""
    shutil.copytree(good, directory)
    folder = next(directory.glob("version-*"))
    pipe = directory.with_name(f"{directory.name}-pipe")
    os.mkfifo(pipe)
    named = [str(pipe) if path == "pipe" else path for path in paths]
    table = pa.table({"id": range(ROWS), "label": TABLE["label"], "path": named}, schema=TABLE.schema)
    other = forged(directory.with_name(f"{directory.name}-forged"), table=table)
    shutil.copy(file_of(other, "rows.parquet"), folder / "rows.parquet")
    data = (folder / "rows.parquet").read_bytes()
    values = json.loads((folder / "manifest.json").read_text()) | {"rows_bytes": len(data), "rows_sha256": digest(data)}
    text = json.dumps(values).encode()
    (folder / "manifest.json").write_bytes(text)
    (directory / "CURRENT").write_text(f"{folder.name} {digest(text)}\n")
    printed = answered(run, *arguments, "--bank", str(directory))
    assert "\x1b" not in printed, "an escape sequence reached the terminal"
    return printed
