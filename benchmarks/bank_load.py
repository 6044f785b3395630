"""What it costs to open a large bank: seconds and private memory of a mapped load, and the first search apart.

    python benchmarks/bank_load.py [--rows N] [--channels C] [--folder DIR]

Writes a bank of 500,000 × 1024 float32 with labels and paths (2 GB) in pieces into a temporary folder, which is
removed at the end. Then a fresh process, which has imported the library already, measures ``MemoryBank.load``: wall
seconds, and the growth of private memory (Private_Clean + Private_Dirty of /proc/self/smaps_rollup) and of the part of
it that no file backs. Pages of the bank that a search has read are private but backed: the system takes them back when
it needs room. The first search reads and checks every block, and the labels; a path is asked for last.
Required: a load in less than a second and 100 MB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from retrieval_explain import MemoryBank
from retrieval_explain.store.writer import BankWriter

ROWS_A_PIECE = 10_000
QUERIES = 20


def write_bank(directory: Path, rows: int, channels: int) -> float:
    """Write random rows of 1,000 classes; return the seconds it took."""
    chance = np.random.default_rng(0)
    start = time.perf_counter()
    with BankWriter(directory, channels, expected_rows=rows) as writer:
        for first in range(0, rows, ROWS_A_PIECE):
            numbers = range(first, min(first + ROWS_A_PIECE, rows))
            block = chance.standard_normal((len(numbers), channels), dtype=np.float32)
            labels = [f"class {number % 1000:03d}" for number in numbers]
            writer.add(block, numbers, labels, [f"class {n % 1000:03d}/image {n:08d}.jpg" for n in numbers])
    return time.perf_counter() - start


def megabytes() -> np.ndarray:
    """Return the private memory of this process, and how much of its memory no file backs."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {name: int(value.split()[0]) / 1024 for name, value in fields.items()}
    return np.array([sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Anonymous"]])


def measure(directory: str) -> list[tuple[str, float, list[float]]]:
    """Return the steps of opening and using a bank with their seconds and the memory they add, in MB."""
    steps = []

    def step(name, work):
        memory, start = megabytes(), time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        steps.append((name, seconds, (megabytes() - memory).tolist()))
        return result

    bank = step("MemoryBank.load", lambda: MemoryBank.load(directory))
    queries = torch.randn(QUERIES, bank.rows.shape[1], generator=torch.Generator().manual_seed(0))
    found = step(f"first search, {QUERIES} queries", lambda: bank.search(queries, k=200))
    step("second search", lambda: bank.search(queries, k=200))
    step("a path", lambda: bank.paths[int(found.indices[0, 0])])
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder is made")
    parser.add_argument("--measure", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        directory = Path(folder) / "bank"
        seconds = write_bank(directory, options.rows, options.channels)
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        print(f"wrote {options.rows:,} x {options.channels} in {seconds:.1f} s, {size / 1e9:.2f} GB", flush=True)
        command = [sys.executable, __file__, "--measure", str(directory)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{'step':<28}{'seconds':>10}{'private MB':>14}{'without a file':>16}")
    for name, seconds, (private, anonymous) in json.loads(answer):
        print(f"{name:<28}{seconds:>10.3f}{private:>14.1f}{anonymous:>16.1f}")


if __name__ == "__main__":
    main()
