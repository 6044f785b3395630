"""The memory of evaluating retrieval and its explanations, which should not grow with the number of queries.

    python benchmarks/evaluation_memory.py [--kept 512] [--queries 1024 4096]

Digit scenes at 84×84 under an untrained Conv4Net, votes of 200 neighbors, FAM's maps and the baselines. A fresh process
for each number of queries; printed is the largest resident memory, less that of a run over 64 queries, beside what
pixels, maps and masks of all queries would take. ``--kept`` is how many images stay in memory; the library keeps 4,096.
"""

import argparse
import resource
import subprocess
import sys

from episodes import DigitScenes
from fsl_explain import Encoder
from retrieval_explain.evaluation import query_images
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank

SIZE, GALLERY = 84, 500
BYTES_PER_IMAGE = SIZE * SIZE * (3 * 4 + 1) + 64 * 5 * 5 * 4


def evaluate(queries: int, kept: int) -> None:
    """Evaluate and print the largest resident memory in bytes."""
    query_images.IMAGES_KEPT = kept
    encoder = Encoder.named("conv4net", size=SIZE, seed=0)
    asked, gallery = (
        DigitScenes(part="novel", per_class=-(-count // 5), seed=seed, size=SIZE)
        for seed, count in enumerate((queries, GALLERY))
    )
    evaluate_bank(encoder, asked, gallery=gallery, limit=queries, methods=["fam"], rules=["knn-vote"])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def peak(queries: int, kept: int) -> int:
    command = [sys.executable, __file__, "--only", str(queries), "--kept", str(kept)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=int, default=512)
    parser.add_argument("--queries", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only is not None:
        evaluate(arguments.only, arguments.kept)
        return
    few = peak(64, arguments.kept)
    for queries in arguments.queries:
        grown = (peak(queries, arguments.kept) - few) / 2**20
        whole = queries * BYTES_PER_IMAGE / 2**20
        print(
            f"{queries} queries: {grown:.0f} MiB more than 64 queries; pixels, maps and masks of all: {whole:.0f} MiB"
        )


if __name__ == "__main__":
    main()
