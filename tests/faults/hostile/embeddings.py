"""Files of embeddings from anybody: arrays with programs, tables with gaps, lists of images that are none."""

import io
import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults.embedding_files import ROWS, arrays, judged, npy, tables, tensors
from faults.hostile.checkpoints import PROOF, Program, programs
from faults.hostile.runner import Case, answered

from episodes.errors import Mistake
from retrieval_explain.cli.app import run
from retrieval_explain.imports.importing import import_embeddings


def cases(folder: Path) -> Iterator[Case]:
    """Yield files that are imported in memory and to a folder, then those that the command is given."""
    numbers = iter(range(100_000))
    for ending, made in {
        ".npy": arrays(folder),
        ".parquet": tables(),
        ".safetensors": tensors(),
        ".pt": states(folder),
    }.items():
        for name, (content, verdict) in made.items():
            path = folder / f"{next(numbers)}{ending}"
            path.write_bytes(content() if callable(content) else content)
            for on_disk in (False, True):
                where = "to disk" if on_disk else "in memory"
                yield f"{ending} {name}, {where}", partial(imported, path, on_disk, folder), verdict
    yield from lists(folder)
    yield from commands(folder)


def imported(path: Path, on_disk: bool, folder: Path, **options: Any) -> object:
    """Import a file. A refusal leaves no bank, and no program of the file runs."""
    bank = path.with_suffix(".bank") if on_disk else None
    try:
        made = import_embeddings(path, bank, **options)
        made.search(torch.ones(1, made.rows.shape[1]), 1)
        return made.ids.tolist(), made.rows.read(0, len(made)).tolist()
    except Mistake:
        assert bank is None or not (bank / "CURRENT").exists(), "half a bank was written"
        raise
    finally:
        assert not (folder / PROOF).exists(), "a program of the file ran"


def states(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return PyTorch's files with what should become of them."""
    rows = torch.from_numpy(ROWS)

    def saved(value: object) -> bytes:
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()

    deep: Any = rows
    for _ in range(200):
        deep = {"a": deep}
    wrong: dict[str, Any] = {
        "nothing": saved({}),
        "None": saved(None),
        "two matrices": saved({"a": rows, "b": rows}),
        "a vector": saved(rows[0]),
        "truth values": saved(rows > 0),
        "complex": saved(rows.to(torch.complex64)),
        "sparse": saved(rows.to_sparse()),
        "NaN": saved(rows * float("nan")),
        "on no device": saved(rows.to("meta")),
        "deep": saved(deep),
        "a list": saved([rows]),
        "noise": np.random.default_rng(0).bytes(500),
        "cut": saved(rows)[:300],
    }
    for name, function, arguments in programs(folder):
        wrong[f"a program {name}"] = pickle.dumps({"queue": Program(function, *arguments)}, 2)
    views: dict[str, Callable[[], bytes]] = {
        "one row many times": lambda: saved(rows[:1].expand(6, 4)),
        "a parameter": lambda: saved(torch.nn.Parameter(rows)),
        "as it should be": lambda: saved({"memory": rows}),
    }
    return judged(wrong, views)


def lists(folder: Path) -> Iterator[Case]:
    """Yield lists of images that are none, for an array that is right."""
    file = folder / "right.npy"
    file.write_bytes(npy(ROWS))
    for number, (name, content) in enumerate(
        {
            "empty": b"",
            "short": b"a.png\n",
            "long": b"a.png 1\n" * 7,
            "not UTF-8": b"\xff\xfe\n" * 6,
            "UTF-16": "a.png\n".encode("utf-16") * 6,
            "of NUL": b"\0\n" * 6,
            "of one endless line": b"x" * 30_000_000,
            "of endless labels": b"\n".join([b"a.png " + b"y" * 100_000] * 6),
        }.items()
    ):
        path = folder / f"list-{number}.txt"
        path.write_bytes(content)
        verdict = "refused" if name not in ("of NUL", "of endless labels") else lambda _: True
        yield f"a list that is {name}", partial(imported, file, False, folder, images=path), verdict
    os.mkfifo(folder / "pipe.txt")
    for place in ("/dev/zero", "/dev/null", str(folder / "pipe.txt"), str(folder / "none"), "x" * 5000, "a\0b"):
        yield f"a list at {place[-12:]!r}", partial(imported, file, False, folder, images=place), "refused"
    for labels in ([1, "a", None, 2, 3, 4], ["a"], [], [1.5] * 6, [True] * 6, [[1]] * 6, "abcdef", [2**70] * 6, 7):
        yield f"labels {labels!r:.20}", partial(imported, file, False, folder, labels=labels), "refused"


def commands(folder: Path) -> Iterator[Case]:
    """Yield files that the command is given."""
    os.mkfifo(folder / "pipe.npy")
    for place in ("/dev/zero", "/dev/null", str(folder / "pipe.npy"), str(folder), "x.npy", "x" * 5000 + ".npy", ""):
        given = ("import", place, "--bank", str(folder / "made"))
        yield f"import {place[-12:]!r}", partial(answered, run, *given), "refused"
    file = str(folder / "right.npy")
    for option, values in {
        "--layout": ("diagonal", ""),
        "--similarity": ("cosin", ""),
        "--dtype": ("float64", "int8"),
        "--key": ("x" * 10_000,),
        "--images": ("/dev/zero", "nowhere"),
        "--bank": ("/dev/null", "/proc/bank", file),
    }.items():
        for value in values:
            bank = () if option == "--bank" else ("--bank", str(folder / "made"))
            verdict = "refused" if option != "--key" else lambda _: True
            yield (
                f"import {option} {value[:12]!r}",
                partial(answered, run, "import", file, *bank, option, value),
                verdict,
            )
