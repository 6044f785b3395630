"""Recall, time and memory of each index by its automatic settings, beside raw FAISS at the same settings.

    python benchmarks/index_cost.py [--rows 1000000] [--channels 128] [--kinds ivf ivf-pq hnsw] [--repeats 5]
    OMP_NUM_THREADS=1 python benchmarks/index_cost.py  # in processor time, which other programs do not change

The rows lie in 10,000 Gaussian clusters of unequal size and spread; 100 queries are drawn from the same clusters and
are not among the rows. Printed: recall@200 against the exact search; then, ours : raw, the time to train and fill the
index, the time of a search (medians of repeats that alternate both sides), and the growth of the process's memory.
Our search includes the comparison of all candidates with the stored rows, in float64. For ivf-pq the second raw side
is FAISS's own refinement of as many candidates in float32 (IndexRefineFlat), without which it does not reach the
recall. Each kind runs in a process of its own. HNSW takes a quarter of an hour to build on two cores, twice.
"""

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch

from retrieval_explain.ranking.neighbors import RowsInMemory, blocks
from retrieval_explain.search.index import SEED, TRAINING_ROWS_A_LIST, Index, build_index, flat, search
from retrieval_explain.search.recall import recall_against, verify

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
K = 200
CLUSTERS = 10_000


def clustered(rows: int, channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(CLUSTERS, channels, generator=generator)
    sizes = (0.7 * torch.randn(CLUSTERS, generator=generator)).exp()
    spread = 0.4 * (0.4 * torch.randn(CLUSTERS, generator=generator)).exp()
    chosen = torch.multinomial(sizes, rows, replacement=True, generator=generator)
    values = torch.empty(rows, channels)
    for part in torch.arange(rows).split(65536):
        noise = torch.randn(len(part), channels, generator=generator)
        values[part] = centers[chosen[part]] + spread[chosen[part], None] * noise
    return values


def memory() -> float:
    """Return the resident memory in MiB, after what was freed went back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 2**10


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def raw_index(rows: RowsInMemory, index: Index) -> object:
    channels, settings = rows.shape[1], index.settings
    if index.kind == "hnsw":
        made = faiss.IndexHNSWFlat(channels, settings["links"], faiss.METRIC_L2)
        made.hnsw.efConstruction = settings["construction"]
        made.hnsw.efSearch = settings["paths"]
    else:
        storage = "Flat" if index.kind == "ivf" else f"PQ{settings['bytes']}x8np"
        made = faiss.index_factory(channels, f"IVF{settings['lists']},{storage}", faiss.METRIC_L2)
        made.cp.seed, made.nprobe = SEED, settings["probed"]
        wanted = min(rows.shape[0], settings["lists"] * TRAINING_ROWS_A_LIST)
        chosen = np.sort(np.random.default_rng(SEED).choice(rows.shape[0], wanted, replace=False))
        made.train(rows.embeddings.numpy()[chosen])
    for _, block in blocks(rows):
        made.add(block.numpy())
    return made


def same_index(index: Index) -> object:
    """Return what FAISS holds of our index, so that it is searched with the same settings without ours around it."""
    if index.kind == "hnsw":
        index.faiss_index.hnsw.efSearch = index.settings["paths"]
    else:
        index.faiss_index.nprobe = index.settings["probed"]
    return index.faiss_index


def compare(kind: str, count: int, channels: int, repeats: int, search_only: bool = False) -> None:
    values = clustered(count + 100, channels)
    rows, queries = RowsInMemory(values[:count]), values[count:].clone()
    exact = search(flat("euclidean"), rows, queries, K)
    before = memory()
    started = CLOCK()
    index = build_index(rows, "euclidean", kind, K)
    building, grown = CLOCK() - started, memory() - before
    verified = verify(index, rows, K)
    index = verified.index
    recall = float(recall_against(search(index, rows, queries, K), exact).mean())
    print(f"{kind}  {index.settings}\n  {verified.sentence}; on held-out queries {recall:.4f}", flush=True)
    raw = same_index(index) if search_only else raw_index_compared(rows, index, building, grown)
    sides = {"search": raw}
    if kind == "ivf-pq":
        refined = faiss.IndexRefineFlat(raw, faiss.swig_ptr(rows.embeddings.numpy()))
        refined.k_factor = index.settings["factor"]
        sides["search, FAISS refining too"] = refined
    for name, side in sides.items():
        compare_searches(
            name, lambda: search(index, rows, queries, K), partial(side.search, queries.numpy(), K), repeats
        )


def raw_index_compared(rows: RowsInMemory, index: Index, building: float, grown: float) -> object:
    before = memory()
    started = CLOCK()
    raw = raw_index(rows, index)
    raw_building, raw_grown = CLOCK() - started, memory() - before
    print(f"  build   {building:8.1f} s  : {raw_building:8.1f} s  = {building / raw_building:.2f}")
    print(f"  memory  {grown:8.0f} MiB: {raw_grown:8.0f} MiB = {grown / raw_grown:.2f}", flush=True)
    return raw


def compare_searches(name: str, ours: Callable[[], object], raw: Callable[[], object], repeats: int) -> None:
    ours(), raw()
    pairs = [(seconds(ours), seconds(raw)) for _ in range(repeats)]
    mine, theirs = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"  {name} of 100: {mine:.0f} ms : {theirs:.0f} ms = {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--kinds", nargs="+", default=["ivf", "ivf-pq", "hnsw"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--search-only", action="store_true", help="build one index and search it from both sides")
    options = parser.parse_args()
    if len(options.kinds) == 1:
        print(f"{torch.get_num_threads()} threads, {CLOCK.__name__}, {options.rows} × {options.channels}, K = {K}")
        compare(options.kinds[0], options.rows, options.channels, options.repeats, options.search_only)
        return
    for kind in options.kinds:
        rest = ["--rows", options.rows, "--channels", options.channels, "--repeats", options.repeats, "--kinds", kind]
        rest += ["--search-only"] if options.search_only else []
        subprocess.run([sys.executable, __file__, *map(str, rest)], check=True)


if __name__ == "__main__":
    main()
