"""What finer maps cost: processor time of a whole explanation over one forward pass of its query, in one run.

    OMP_NUM_THREADS=1 python benchmarks/detail_cost.py efficientnet-lite0 torchvision:resnet50

One query of 224 pixels against three classes whose features are known, contrast, medians of rounds in turn; and forward
passes of an image of 448 pixels, at that scale and at 224 and 448, which is 5 times the arithmetic; eight images
likewise. The last lines
of each network say how the peak of memory grew in explaining 64 queries at once.
"""

import argparse
import resource
from collections.abc import Callable
from dataclasses import replace

import torch
from timed_in_turn import in_turn
from torch.utils._python_dispatch import TorchDispatchMode

from fsl_explain import Encoder, explain

RULES = ("abs", "gamma")
TOGETHER = 8


def main() -> None:
    """Print one table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        measure(name, options.rounds, options.batch)


def measure(name: str, rounds: int, batch: int) -> None:
    """Print the costs of one network."""
    torch.manual_seed(0)
    encoder, query = Encoder.named(name), torch.randn(1, 3, 224, 224)
    supports = encoder(torch.randn(6, 3, 224, 224)).unflatten(3, 2)
    runs: dict[str, Callable[[], object]] = {
        "one forward pass": lambda: encoder(query),
        "watched, nothing kept": lambda: watched(lambda: encoder(query)),
    }
    for detail, rule in ((0, "abs"), *((detail, rule) for detail in (1, 2, 3) for rule in RULES)):
        finer = encoder.with_detail(detail, "drawn", rule)
        runs[f"detail {detail}" + (f", {rule}" if detail else "")] = explaining(finer, query, supports)
    large, scaled = torch.randn(1, 3, 448, 448), encoder.at_scales((224, 448))
    runs |= {"one at 448": lambda: encoder(large), "one at 224 and 448": lambda: scaled(large)}
    taken = in_turn(list(runs.values()), rounds)
    for (what, _), seconds in zip(runs.items(), taken, strict=True):
        print(f"{name}, {what}: {seconds / taken[0]:.2f} ({seconds:.3f} s)", flush=True)
    several, scaled_several = torch.randn(TOGETHER, 3, 224, 224), torch.randn(TOGETHER, 3, 448, 448)
    taken = in_turn([lambda: encoder(several), lambda: scaled(scaled_several)], rounds)
    print(f"{name}, {TOGETHER} at 224 and 448: {taken[1] / taken[0]:.2f} ({taken[1]:.3f} s)", flush=True)
    images = torch.randn(batch, 3, 224, 224)
    for detail in (1, 3):
        before = peak()
        explaining(encoder.with_detail(detail), images, supports)()
        print(f"{name}, {batch} queries at detail {detail}: {peak() - before:.0f} MB more than before", flush=True)


def explaining(encoder: Encoder, query: torch.Tensor, supports: object) -> Callable[[], object]:
    """Return an explanation that has its supports' features, with their last maps alone."""
    return lambda: explain(encoder, query, replace(supports, finer=None), method="contrast")  # type: ignore[type-var]


class Watching(TorchDispatchMode):
    """Sees every operation, and does nothing: what a way back costs at least while it watches."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Compute."""
        return func(*args, **(kwargs or {}))


def watched(run: Callable[[], object]) -> object:
    """Run while every operation is seen."""
    with Watching():
        return run()


def peak() -> float:
    """Return the largest resident memory so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
