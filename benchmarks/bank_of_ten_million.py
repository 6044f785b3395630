"""A bank of ten million rows: written in pieces, opened, and searched exactly for K = 200.

    python benchmarks/bank_of_ten_million.py [--rows 10000000] [--channels 128] [--raw]
    python benchmarks/bank_of_ten_million.py --index ivf-pq --clusters 10000

Writing and searching each run in a process of its own, in a temporary folder that is removed (5.1 GB for the default).
The rows lie in 1,000 round clusters and the queries anywhere, or with --clusters both in as many clusters of unequal
size and spread, as in index_cost.py. With --index, an index is built by its automatic settings and kept beside the bank
in one process, and searched in another: its time, its recall of 200 neighbors on rows and on queries that are not
among them, its file, and the private memory of both.
Printed: rows written a second; queries answered a second, by 20 and by 100 at a time, on the first search, which also
checks the hash of every block, and on the second; the peak of resident memory, in which the mapped file counts as far
as it is cached, and the peak of private memory, in which it does not. With --raw, faiss.knn on the same mapped rows.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import faiss
import numpy as np
import torch

from retrieval_explain import MemoryBank
from retrieval_explain.search.index import Index
from retrieval_explain.search.recall import recall_against
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

K = 200
PIECE = 100_000
STEPS = ("write", "build", "find")  # each in a process of its own


class PrivateMemory:
    """The peak of anonymous memory while the block runs, looked at every 50 ms."""

    def __enter__(self) -> "PrivateMemory":
        self.peak, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            self.peak = max(
                self.peak, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 2**20
            )

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def report(name: str, private: PrivateMemory) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {name}: peak resident {peak:.2f} GiB, of it private {private.peak:.2f} GiB", flush=True)


class Drawn:
    """Rows, and queries that are none of them: of round clusters and anywhere, or both of clusters that differ."""

    def __init__(self, channels: int, clusters: int) -> None:
        rng = np.random.default_rng(0)
        self.channels, self.differ = channels, clusters > 0
        self.centers = rng.normal(size=(clusters or 1000, channels)).astype(np.float32)
        sizes = np.exp(0.7 * rng.normal(size=len(self.centers))) if self.differ else np.ones(len(self.centers))
        self.shares = np.cumsum(sizes / sizes.sum())
        spread = 0.4 * np.exp(0.4 * rng.normal(size=len(self.centers))) if self.differ else np.ones(len(self.centers))
        self.spread = spread.astype(np.float32)

    def rows(self, seed: tuple[int, int], count: int) -> np.ndarray:
        """Return some rows."""
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((count, self.channels), dtype=np.float32)
        chosen = np.searchsorted(self.shares[:-1], rng.random(count))
        rows *= self.spread[chosen, None]
        rows += self.centers[chosen]
        return rows

    def queries(self, count: int) -> torch.Tensor:
        """Return vectors that are none of the rows."""
        if self.differ:
            return torch.from_numpy(self.rows((2, 0), count))
        return torch.from_numpy(np.random.default_rng(2).normal(size=(count, self.channels)).astype(np.float32))


def write(directory: Path, rows: int, drawn: Drawn) -> None:
    making = 0.0
    started = time.perf_counter()
    with PrivateMemory() as private, BankWriter(directory, drawn.channels, expected_rows=rows) as writer:
        for start in range(0, rows, PIECE):
            began = time.perf_counter()
            piece = drawn.rows((1, start), min(PIECE, rows - start))
            making += time.perf_counter() - began
            writer.add(piece)
    took = time.perf_counter() - started - making
    print(f"  written in {took:.1f} s, {rows / took:,.0f} rows/s, without the {making:.1f} s it took to make the rows")
    report("writing", private)


def build(directory: Path, kind: str) -> None:
    with PrivateMemory() as private:
        started, processor = time.perf_counter(), time.process_time()
        index = MemoryBank.load(directory).indexed(kind, k=K).verified
    assert index is not None  # it was asked for
    assert isinstance(index.index, Index)  # of a bank on disk
    took = time.perf_counter() - started, time.process_time() - processor
    print(f"  {kind} {index.index.settings} in {took[0]:.0f} s, {took[1]:.0f} s of processor time; {index.sentence}")
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.suffix == ".faiss"]
    print(f"  kept in {sum(sizes) / 2**30:.3f} GiB", flush=True)
    report("building", private)


def find_by_index(directory: Path, kind: str, queries: torch.Tensor) -> None:
    exact = MemoryBank.load(directory).search(queries, k=K)
    with PrivateMemory() as private:
        started = time.perf_counter()
        bank = MemoryBank.load(directory).indexed(kind, k=K)
        print(f"  loaded with its index in {time.perf_counter() - started:.1f} s")
        for name, part in (("first, 100", queries), ("then, 100", queries), ("then, one", queries[:1])):
            started, processor = time.perf_counter(), time.process_time()
            found = bank.search(part, k=K)
            took = time.perf_counter() - started, time.process_time() - processor
            print(f"  {name:10} queries {took[0]:7.3f} s, {took[1]:7.3f} s of processor time", flush=True)
            if len(part) == len(queries):
                recall = recall_against(found, exact)
    print(f"  recall@{K} on {len(queries)} queries that are no rows: {float(recall.mean()):.3f}")
    report("searching", private)


def find(directory: Path, queries: torch.Tensor, raw: bool) -> None:
    with PrivateMemory() as private:
        started = time.perf_counter()
        bank = MemoryBank.load(directory)
        print(f"  loaded in {time.perf_counter() - started:.2f} s")
        for name, part in (("first, 20", queries[:20]), ("then, 20", queries[:20]), ("then, 100", queries[20:])):
            started = time.perf_counter()
            bank.search(part, k=K)
            took = time.perf_counter() - started
            rate = len(part) * len(bank) / took
            print(f"  {name:9} queries {took:7.2f} s, {len(part) / took:6.2f} queries/s, {rate:.2e} rows·queries/s")
    report("searching", private)
    if raw:
        stored = open_bank(directory)
        rows = stored.rows(0, len(stored))
        faiss.knn(queries[:1].numpy(), rows, K, faiss.METRIC_INNER_PRODUCT)
        for part in (queries[:20].numpy(), queries[20:].numpy()):
            started = time.perf_counter()
            faiss.knn(part, rows, K, faiss.METRIC_INNER_PRODUCT)
            print(
                f"  raw faiss.knn, inner product, {len(part)} queries {time.perf_counter() - started:7.2f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--clusters", type=int, default=0, help="of unequal size and spread; 0: round ones")
    parser.add_argument("--index", choices=("ivf", "ivf-pq", "hnsw"), help="build and search one")
    for step in STEPS:
        parser.add_argument(f"--{step}", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    drawn = Drawn(options.channels, options.clusters)
    if options.write:
        write(options.write, options.rows, drawn)
    elif options.build:
        build(options.build, options.index)
    elif options.find and options.index:
        find_by_index(options.find, options.index, drawn.queries(100))
    elif options.find:
        find(options.find, drawn.queries(120), options.raw)
    else:
        in_turn(options)


def in_turn(options: argparse.Namespace) -> None:
    needed = 4 * options.rows * options.channels
    if shutil.disk_usage(tempfile.gettempdir()).free < 1.3 * needed:
        raise SystemExit(f"expected {1.3 * needed / 1e9:.1f} GB free in {tempfile.gettempdir()}, but there are fewer.")
    print(
        f"{torch.get_num_threads()} threads, {options.rows:,} × {options.channels} float32, cosine, K = {K}", flush=True
    )
    given = ["--rows", str(options.rows), "--channels", str(options.channels), "--clusters", str(options.clusters)]
    given += ["--raw"] if options.raw else []
    given += ["--index", options.index] if options.index else []
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            if step != "build" or options.index:
                subprocess.run([sys.executable, __file__, *given, f"--{step}", folder], check=True)


if __name__ == "__main__":
    main()
