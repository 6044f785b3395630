"""Results on disk: summary.json, queries.parquet and episodes.parquet, there whole or not at all."""

import hashlib
import json
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from episodes import LabeledImages, Split
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.measurement import Chunk, episode_columns, query_columns

RECORDED = ("fsl-explain", "torch", "torchvision", "numpy", "pillow", "scipy")
UNFINISHED = "unfinished-"  # how the folders of finished parts begin
Columns = Mapping[str, np.ndarray | list[Any]]


def provenance(
    settings: Mapping[str, Any],
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    checkpoint: Path | None = None,
    split: Split | None = None,
) -> dict[str, Any]:
    """Return what a figure depends on: settings, versions, split, weights and the list of images.

    ``settings`` are plain values without a place on the machine; no date is added, so that two equal runs give equal
    files.
    """
    return {
        "config": dict(settings),
        "versions": {name: version(name) for name in RECORDED} | {"python": platform.python_version()},
        "encoder": encoder.description,
        "checkpoint_sha256": None if checkpoint is None else sha256_of(checkpoint),
        **images_used(dataset, split),
    }


def images_used(dataset: LabeledImages, split: Split | None = None) -> dict[str, Any]:
    """Return the part of the provenance that is about images: split, data set and a hash of the labels."""
    return {
        "split": None if split is None else {"name": split.name, "sha256": split.sha256},
        "dataset": {"name": dataset.name, "images": len(dataset), "classes": len(dataset.classes)},
        "labels_sha256": _labels_hash(dataset),
    }


def fingerprint(recorded: Mapping[str, Any]) -> str:
    """Return a hash of everything a figure depends on but the number of episodes."""
    config = dict(recorded["config"])
    if "episodes" in config:
        config["episodes"] = {key: value for key, value in config["episodes"].items() if key != "count"}
    return hashlib.sha256(json.dumps(dict(recorded) | {"config": config}, sort_keys=True).encode()).hexdigest()


def partial_folder(out: Path, recorded: Mapping[str, Any], resume: bool) -> Path:
    """Return the folder of finished chunks of this very run; without ``resume`` it is emptied first.

    Chunks of a run with other settings are never used: the folder carries the run's fingerprint.
    """
    folder = out / f"{UNFINISHED}{fingerprint(recorded)[:16]}"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def remove_partial(out: Path) -> None:
    """Remove the finished chunks once the results stand."""
    for folder in out.glob(f"{UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_empty(*folders: Path) -> None:
    """Remove folders that hold nothing, the inner ones first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def write_results(
    out: Path,
    summary: Mapping[str, Any],
    chunk: Chunk,
    dataset: LabeledImages,
    pages: Mapping[str, str] | None = None,
) -> None:
    """Write summary.json, queries.parquet, episodes.parquet and the pages together."""
    queries = query_columns(chunk, dataset.classes, dataset.paths)
    write_tables(out, summary, {"queries": queries, "episodes": episode_columns(chunk)}, pages)


def write_tables(
    out: Path, summary: Mapping[str, Any], tables: Mapping[str, Columns], pages: Mapping[str, str] | None = None
) -> None:
    """Write summary.json, a Parquet file of each table and the pages aside, and rename them together.

    An interrupt waits until the renaming is done.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as name:
        folder = Path(name)
        for table, columns in tables.items():
            pq.write_table(_table(columns), folder / f"{table}.parquet")
        for file_name, page in (pages or {}).items():
            (folder / file_name).write_bytes(page.encode("utf-8", errors="replace"))
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / "summary.json").write_text(text, encoding="utf-8")
        with uninterrupted():
            for file in sorted(folder.iterdir()):
                file.replace(out / file.name)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which gets no interrupt
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _labels_hash(dataset: LabeledImages) -> str:
    text = json.dumps([list(dataset.classes), dataset.labels.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()
