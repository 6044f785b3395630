"""What methods that promise sharp maps cost: processor time of a whole explanation over one forward pass of its query.

    OMP_NUM_THREADS=1 python benchmarks/sharp_maps_cost.py [--config configs/live/compare-cub10.toml] [--images 4]

Photographs and encoder are those of a comparison's configuration; one query against five classes of one support whose
features are known. Every method of pixels and of earlier maps is timed on each photograph, beside a few of the last
maps; medians over the photographs. Integrated gradients also say in how many steps, and what they then miss of
score − score(zeros).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsl_explain import METHODS, Encoder, Explanation, explain
from fsl_explain.config import ComparisonConfig, read_config

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "live" / "compare-cub10.toml"
BESIDE = ("contrast", "grad-cam", "layercam")
EARLIER = ("grad-cam@2", "grad-cam@3")
WAY = 5


def main() -> None:
    """Print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--images", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = read_config(options.config, ComparisonConfig)
    encoder, dataset = Encoder.from_config(settings.encoder), settings.data.open()
    first = [int(np.flatnonzero(dataset.labels == label)[0]) for label in range(WAY)]
    chosen = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(dataset)), first))[: options.images]
    supports = encoder(encoder.preprocess([dataset[place].image for place in first])).unflatten(WAY, 1)
    queries = encoder.preprocess([dataset[int(place)].image for place in chosen])
    encoder(queries[:1])  # the first pass of a network is slower
    passes = statistics.median(seconds(partial(encoder, query[None]))[0] for query in queries for _ in range(5))
    print(f"{encoder.description}: one forward pass {passes:.3f} s")
    for name in (*BESIDE, *EARLIER, *(name for name, method in METHODS.items() if method.differentiates)):
        found = [
            seconds(lambda query=query, name=name: explain(encoder, query, supports, method=name)) for query in queries
        ]
        taken = statistics.median(one for one, _ in found)
        cells = "×".join(str(side) for side in found[0][1].cells.shape)
        print(f"{name}, {cells}: {taken / passes:.1f} forward passes ({taken:.2f} s){steps(found)}", flush=True)


def steps(found: list[tuple[float, Explanation]]) -> str:
    """Return in how many steps an integral was taken, and what it missed; "" for what is no integral."""
    if found[0][1].query.steps is None:
        return ""
    taken = [int(one.query.steps) for _, one in found]  # type: ignore[arg-type] # of all if of one
    missed = [abs(one.receipt().missed / (float(one.score) - float(one.bias))) for _, one in found]
    return f", {min(taken)} to {max(taken)} steps, missing {min(missed):.1%} to {max(missed):.1%}"


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of a call, and what it returned."""
    start = time.process_time()
    outcome = function()
    return time.process_time() - start, outcome


if __name__ == "__main__":
    main()
