"""Search in a bank on a real Milvus server: its neighbors beside brute force, its cost beside other searches.

    make milvus && python benchmarks/milvus_search.py [--rows 100000] [--channels 512] [--queries 50] [--k 200] \
        [--similarities cosine inner-product euclidean]

Each metric in one run, on the same embeddings and queries: the bank on the server (its exhaustive index, and what is
done with its candidates here), the exact search of the same rows in memory, and ``faiss`` alone, exhaustive as well.
Brute force is every pair in float64. The server is milvus-lite, a process of its own on this machine.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fixtures"))
from milvus_server import MISSING, PROGRAM, MilvusServer

from fsl_explain.similarities import named_similarity, traits_of
from retrieval_explain import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors, scan

SIMILARITIES = ("cosine", "inner-product", "euclidean")
REPEATED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("rows", 100_000), ("channels", 512), ("queries", 50), ("k", 200)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--similarities", nargs="+", default=SIMILARITIES, choices=SIMILARITIES)
    asked = parser.parse_args()
    if not PROGRAM.is_file():
        sys.exit(MISSING)
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((asked.rows, asked.channels)).astype(np.float32)
    queries = torch.from_numpy(rng.standard_normal((asked.queries, asked.channels)).astype(np.float32))
    print(f"{asked.rows} rows of {asked.channels} channels, {asked.queries} queries, k {asked.k}; seconds a query")
    print("metric         differ  recall   write  open  again   milvus   one   exact   one   faiss   one   ratios")
    for similarity in asked.similarities:
        with tempfile.TemporaryDirectory() as folder:
            server = MilvusServer(Path(folder) / "data").start()
            try:
                measured(MemoryBank.from_embeddings(embeddings, similarity=similarity), server, queries, asked.k)
            finally:
                server.kill()


def measured(bank: MemoryBank, server: MilvusServer, queries: torch.Tensor, k: int) -> None:
    address = server.address("bank", timeout=600)
    write, _ = timed(lambda: bank.save(address))
    opened, there = timed(lambda: MemoryBank.open(address))
    again, _ = timed(lambda: MemoryBank.open(address))
    ways = {"milvus": there.search, "exact": bank.search, "faiss": faiss_search(bank)}
    found = {name: search(queries, k) for name, search in ways.items()}
    together = {
        name: timed(lambda search=search: search(queries, k))[0] / len(queries) for name, search in ways.items()
    }
    alone = {name: once(search, queries, k) for name, search in ways.items()}
    true = scan(queries, bank.rows, bank.similarity, k)
    differ = int((found["milvus"].indices != true.indices).sum())
    same = [len(set(a) & set(b)) for a, b in zip(found["milvus"].indices.tolist(), true.indices.tolist(), strict=True)]
    times = "  ".join(f"{together[name]:.4f} {alone[name]:.4f}" for name in ways)
    ratios = ", ".join(f"{alone['milvus'] / alone[name]:.1f} × {name}" for name in ("exact", "faiss"))
    recall = sum(same) / (k * len(same))
    print(f"{bank.similarity:14} {differ:6} {recall:7.4f} {write:7.1f} {opened:5.1f} {again:6.1f}   {times}   {ratios}")
    assert there.verified is not None
    print(f"  {there.verified.index.kind}: {there.verified.sentence}; largest memory: the server {gib(server.memory)},")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"  this process {gib(largest)}, where the rows alone are {gib(4 * len(bank) * bank.rows.shape[1])}")


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def faiss_search(bank: MemoryBank) -> Callable[[torch.Tensor, int], Neighbors]:
    traits = traits_of(named_similarity(bank.similarity))
    assert traits.transform is not None
    kind = faiss.IndexFlatIP if traits.inner_product_of is not None else faiss.IndexFlatL2
    index = kind(bank.rows.shape[1])
    index.add(traits.transform(bank.rows.read(0, len(bank))).float().numpy())

    def search(queries: torch.Tensor, k: int) -> Neighbors:
        values, indices = index.search(traits.transform(queries).float().numpy(), k)
        return Neighbors(torch.from_numpy(indices), torch.from_numpy(values).double())

    return search


def once(search: Callable[[torch.Tensor, int], Neighbors], queries: torch.Tensor, k: int) -> float:
    return min(timed(partial(search, queries[one : one + 1], k))[0] for one in range(REPEATED))


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
