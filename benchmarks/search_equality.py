"""The exact search beside brute force in float64, and its time beside raw FAISS.

    python benchmarks/search_equality.py [--rows 100000] [--channels 512] [--repeats 7]
    OMP_NUM_THREADS=1 python benchmarks/search_equality.py  # in processor time, which other programs do not change

For the cosine, the inner product and the Euclidean similarity, K = 200, 100 queries: every claimed similarity is that
of its row, none is repeated, no better row was left out, all compared with every pair in numpy and float64. A tenth
of the rows stands twice, and one row 500 times, so that there are ties at the last place. Then the median time of the
search of 1, 20 and 100 queries : that of faiss.knn on the same float32 rows (normalized beforehand for the cosine),
both sides in turn; the same with half of the rows allowed : FAISS among all rows with a selector of these; and :
faiss.knn on those rows alone, gathered beforehand, which costs more than the search and is not counted.

One query at a time is measured twice: as the first queries are answered, and as those behind the 64th are, by a copy
of the rows in bfloat16, which takes half of their memory; the time that it takes to make is told. The ratio in
parentheses is that of the time on the wall.
"""

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
import torch
import torch.nn.functional as F

from fsl_explain.similarities import named_similarity
from retrieval_explain.ranking.neighbors import Neighbors, RowsInMemory
from retrieval_explain.search import coarse_rows
from retrieval_explain.search.index import flat, search

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
K = 200
NEVER = 2**62
METRICS = {
    "cosine": faiss.METRIC_INNER_PRODUCT,
    "inner-product": faiss.METRIC_INNER_PRODUCT,
    "euclidean": faiss.METRIC_L2,
}


def embeddings(rows: int, channels: int, generator: torch.Generator) -> torch.Tensor:
    centers = torch.randn(1000, channels, generator=generator)
    chosen = torch.randint(0, 1000, (rows,), generator=generator)
    return centers[chosen] + 0.5 * torch.randn(rows, channels, generator=generator)


def with_ties(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    order = torch.randperm(len(rows), generator=generator)
    tenth = len(rows) // 10
    rows[order[:tenth]] = rows[order[tenth : 2 * tenth]]
    rows[order[-500:]] = rows[order[-500]].clone()
    return rows


def brute_force(queries: torch.Tensor, rows: torch.Tensor, similarity: str) -> np.ndarray:
    q, x = queries.double().numpy(), rows.double().numpy()
    if similarity == "cosine":
        q, x = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (q, x))
    if similarity == "euclidean":
        return np.stack([-((x - one) ** 2).sum(axis=1) for one in q])
    return np.stack([(x * one).sum(axis=1) for one in q])


def differences(found: Neighbors, scores: np.ndarray) -> tuple[float, float, int]:
    indices, claimed = found.indices.numpy(), found.similarities.numpy()
    untrue = np.abs(np.take_along_axis(scores, indices, axis=1) - claimed).max()
    best = -np.sort(-scores, axis=1)[:, :K]
    repeated = sum(len(line) - len(set(line)) for line in indices.tolist())
    return float(untrue), float(np.abs(best - claimed).max()), repeated


def clocks() -> np.ndarray:
    return np.array([CLOCK(), time.perf_counter()])


def ratio(ours: Callable[[], object], raw: Callable[[], object], repeats: int) -> str:
    """Return the median times and ratios; the second ratio is that of the wall."""
    ours(), raw()
    taken = []
    for _ in range(repeats):
        start = clocks()
        ours()
        between = clocks()
        raw()
        taken.append((between - start, clocks() - between))
    mine, theirs = np.median(taken, axis=0)[:, 0]
    compared, of_wall = np.median([a / b for a, b in taken], axis=0)
    return f"{1000 * mine:8.1f} ms : {1000 * theirs:8.1f} ms = {compared:.2f} ({of_wall:.2f})"


def selected(queries: np.ndarray, rows: np.ndarray, allowed: torch.Tensor, metric: int) -> Callable[[], object]:
    """Return FAISS's own search among rows that a selector allows; it takes the same kernels as faiss.knn."""
    index = faiss.IndexFlat(rows.shape[1], metric)
    index.add(rows)
    options = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(allowed.numpy(), bitorder="little")))
    return lambda: index.search(queries, K, params=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    rows = with_ties(embeddings(options.rows, options.channels, generator), generator)
    queries = embeddings(100, options.channels, generator)
    queries[0] = rows[-1]
    allowed = torch.rand(len(rows), generator=generator) < 0.5
    stored = RowsInMemory(rows)
    print(f"{torch.get_num_threads()} threads, {CLOCK.__name__}, {options.rows} × {options.channels}, K = {K}")
    for similarity, metric in METRICS.items():
        untrue, worse, repeated = differences(
            search(flat(similarity), stored, queries, K), brute_force(queries, rows, similarity)
        )
        print(f"{similarity}: claimed − true ≤ {untrue:.1e}, best − claimed ≤ {worse:.1e}, {repeated} repeated")
        coarse_rows.ASKED_BEFORE, start = 64, CLOCK()
        coarse_rows.coarse_rows(stored, named_similarity(similarity))
        seconds = CLOCK() - start
        together = search(flat(similarity), stored, queries, K)
        alone = [search(flat(similarity), stored, queries[i % 100, None], K).indices[0] for i in range(200)]
        differ = sum(not torch.equal(found, together.indices[i % 100]) for i, found in enumerate(alone))
        print(f"  a copy in bfloat16 is made in {seconds:.2f} s; of 200 queries one at a time {differ} differ")
        compared, asked = (F.normalize(v, dim=-1) if similarity == "cosine" else v for v in (rows, queries))
        half = compared[allowed].numpy()
        for count, asked_before in ((1, NEVER), (1, 0), (20, NEVER), (100, NEVER)):
            coarse_rows.ASKED_BEFORE, stored = asked_before, RowsInMemory(rows)
            part, raw = queries[:count], asked[:count].numpy()
            whole = ratio(
                lambda part=part, similarity=similarity, stored=stored: search(flat(similarity), stored, part, K),
                lambda raw=raw, metric=metric, compared=compared: faiss.knn(raw, compared.numpy(), K, metric),
                options.repeats,
            )
            filtered, alone = (
                ratio(
                    lambda part=part, similarity=similarity, stored=stored: search(
                        flat(similarity), stored, part, K, allowed
                    ),
                    peer,
                    options.repeats,
                )
                for peer in (
                    selected(raw, compared.numpy(), allowed, metric),
                    lambda raw=raw, metric=metric, half=half: faiss.knn(raw, half, K, metric),
                )
            )
            what = "by the copy" if asked_before == 0 else ""
            print(
                f"  {count:3} queries {what:11} {whole}    half of the rows  {filtered}    : gathered  {alone}",
                flush=True,
            )


if __name__ == "__main__":
    main()
