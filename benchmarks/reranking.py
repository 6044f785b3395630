"""What re-ranking by cells does to a bank's search, and what it costs: each image of a folder is searched for once.

``python benchmarks/reranking.py IMAGES BANK``: builds the bank and its local features where they are not there, leaves
each query's own row out, and prints precision before and after for each rule, sizes, and times as ratios.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import torch

from fsl_explain import Encoder
from fsl_explain.features import Features
from retrieval_explain import LocalFeatures, MemoryBank
from retrieval_explain.local.reranking import cell_scores

TIMED = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--rules", nargs="+", default=["max-sim"])
    parser.add_argument("--queries", type=int, default=200, help="drawn with seed 0")
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args()
    encoder = Encoder.named(asked.encoder)
    bank = MemoryBank.load(asked.bank) if asked.bank.is_dir() else built(encoder, asked.images, asked.bank)
    folder = asked.bank / f"local-{asked.dtype}"
    begun = time.perf_counter()
    local = LocalFeatures.build(encoder, bank, directory=folder, dtype=asked.dtype)
    rows, channels = bank.rows.shape
    size = f"{local.nbytes / 1e6:.1f} MB, {local.nbytes / (rows * channels * 4):.0f} times the embeddings"
    print(f"{rows} images, {local.grid} cells, {local.channels} channels, {asked.dtype}: {size}; ", end="")
    print(f"made or taken over in {time.perf_counter() - begun:.0f} s")
    chosen = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[: asked.queries].sort().values
    found = bank.search(bank.rows.take(chosen), asked.first, leave_out=chosen)
    print(f"{len(chosen)} queries, first {asked.first} of {rows - 1}")
    print(f"plain       precision {precision(bank, chosen, found.indices)}")
    for rule in asked.rules:
        orders = [ranked(rule, local, int(row), found.indices[place]) for place, row in enumerate(chosen)]
        print(f"{rule:11} precision {precision(bank, chosen, torch.stack(orders))}", flush=True)
        print(f"{'':11} {costs(encoder, bank, local, rule, chosen[:TIMED], asked.first)}", flush=True)


def built(encoder: Encoder, images: Path, directory: Path) -> MemoryBank:
    return MemoryBank.build(encoder, images, directory=directory)


def kept_features(local: LocalFeatures, row: int) -> Features:
    flat = local.take(torch.tensor([row]))
    return Features(flat.unflatten(-1, (local.channels, *local.grid)), flat.double(), flat.double())


def ranked(rule: str, local: LocalFeatures, row: int, candidates: torch.Tensor) -> torch.Tensor:
    scores = cell_scores(rule, kept_features(local, row), local, candidates)
    return candidates[scores.argsort(descending=True, stable=True)]


def precision(bank: MemoryBank, queries: torch.Tensor, order: torch.Tensor) -> str:
    right = (bank.labels[order] == bank.labels[queries][:, None]).double()
    return ", ".join(f"at {k}: {100 * right[:, :k].mean():.2f} %" for k in (1, 5))


def costs(
    encoder: Encoder, bank: MemoryBank, local: LocalFeatures, rule: str, queries: torch.Tensor, first: int
) -> str:
    """Return the processor time of ranking again over that of the search and over a forward pass, medians."""
    image = encoder.preprocess([bank.paths[0]])
    spent: list[list[float]] = [[], [], []]
    for row in queries.tolist():
        query = bank.rows.take(torch.tensor([row]))
        candidates = bank.search(query, first)[0].indices
        features = kept_features(local, row)
        work = (
            lambda query=query: bank.search(query, first),
            lambda features=features, candidates=candidates: cell_scores(rule, features, local, candidates),
            lambda: encoder(image),
        )
        for times, one in zip(spent, work, strict=True):
            begun = time.process_time()
            one()
            times.append(time.process_time() - begun)
    search, again, forward = map(median, spent)
    words = f"search {1000 * search:.1f} ms, ranking again {1000 * again:.0f} ms"
    return f"{words}: {again / search:.0f} times the search, {again / forward:.1f} times a forward pass"


if __name__ == "__main__":
    main()
