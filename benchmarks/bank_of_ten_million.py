"""A bank of ten million rows: written in pieces, opened, and searched exactly for K = 200.

    python benchmarks/bank_of_ten_million.py [--rows 10000000] [--channels 128] [--raw]

Writing and searching each run in a process of its own, in a temporary folder that is removed (5.1 GB for the default).
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
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

K = 200
PIECE = 100_000


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


def write(directory: Path, rows: int, channels: int) -> None:
    centers = np.random.default_rng(0).normal(size=(1000, channels)).astype(np.float32)
    making = 0.0
    started = time.perf_counter()
    with PrivateMemory() as private, BankWriter(directory, channels, expected_rows=rows) as writer:
        for start in range(0, rows, PIECE):
            began = time.perf_counter()
            rng = np.random.default_rng((1, start))
            count = min(PIECE, rows - start)
            piece = rng.standard_normal((count, channels), dtype=np.float32)
            piece += centers[rng.integers(1000, size=count)]
            making += time.perf_counter() - began
            writer.add(piece)
    took = time.perf_counter() - started - making
    print(f"  written in {took:.1f} s, {rows / took:,.0f} rows/s, without the {making:.1f} s it took to make the rows")
    report("writing", private)


def find(directory: Path, channels: int, raw: bool) -> None:
    queries = torch.from_numpy(np.random.default_rng(2).normal(size=(120, channels)).astype(np.float32))
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
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--find", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.rows, options.channels)
    elif options.find:
        find(options.find, options.channels, options.raw)
    else:
        both(options)


def both(options: argparse.Namespace) -> None:
    needed = 4 * options.rows * options.channels
    if shutil.disk_usage(tempfile.gettempdir()).free < 1.3 * needed:
        raise SystemExit(f"expected {1.3 * needed / 1e9:.1f} GB free in {tempfile.gettempdir()}, but there are fewer.")
    print(
        f"{torch.get_num_threads()} threads, {options.rows:,} × {options.channels} float32, cosine, K = {K}", flush=True
    )
    size = ["--rows", str(options.rows), "--channels", str(options.channels)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, *size, "--write", folder], check=True)
        rest = ["--raw"] if options.raw else []
        subprocess.run([sys.executable, __file__, *size, *rest, "--find", folder], check=True)


if __name__ == "__main__":
    main()
