"""What maps cost over the forward pass that makes their activation maps, batch of 64.

    python benchmarks/map_cost.py [--encoder conv4net] [--repeats 9]

For each method: contributions, cells and saliency of 64 queries against 5 classes of one support, embeddings
given, as a share of one forward pass of the same 64 images. Median over repeats, alternating both sides.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from fsl_explain import Encoder
from fsl_explain.explainers.choice import Choice, ask
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.methods.named import find_method


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="conv4net")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    encoder = Encoder.named(options.encoder)
    size = encoder.image_size or 224
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(64, 3, size, size, generator=generator)
    compared = compare(encoder, queries, torch.randn(5, 1, 3, size, size, generator=generator))
    print(f"{options.encoder} at {size}×{size}, batch of 64, {torch.get_num_threads()} threads")
    for name in ("fam", "exact", "contrast", "lafam"):
        method = find_method(name)

        def maps() -> None:
            question = ask(compared, Choice(), method.explains)  # noqa: B023 - called before the next turn
            method.saliency(method.attribute(question).cells, (size, size))  # noqa: B023

        maps()
        encoder(queries)
        times = [(seconds(maps), seconds(lambda: encoder(queries))) for _ in range(options.repeats)]
        ratio = statistics.median(ours / floor for ours, floor in times)
        print(f"  {name:9} maps : forward = {ratio:.4f}")


if __name__ == "__main__":
    main()
