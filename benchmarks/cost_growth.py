"""How cost grows: four sizes of everything that a user can make larger, beside the growth that the arithmetic has.

    OMP_NUM_THREADS=1 python benchmarks/cost_growth.py [--rounds 5] [--out docs/figures/cost-growth.png] [--only rows k]

For each quantity everything else stands still: images embedded, episodes evaluated, masks of RELAX, rows of a bank that
is searched exactly, its neighbors k, ways, shots, channels and cells of one explanation whose features are known, cells
of one correspondence, which compares each with each, and ``detail``, by the cells along a side of its map. Processor
times of one thread, the sizes in turn, medians of rounds. The measured exponent is that between the two largest sizes,
the expected one that of the arithmetic: a smaller one says that fixed costs fill these sizes, and one clearly larger
is a fault.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import LogLocator
from timed_in_turn import in_turn
from torch import nn

from episodes import DigitScenes
from fsl_explain import Encoder, correspondence, explain, saliency
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.methods.relax import RelaxOptions
from retrieval_explain import MemoryBank

Run = Callable[[], object]
RELAX_MASKS = (128, 256, 512, 1024)


@dataclass(frozen=True)
class Growth:
    """One quantity: its sizes, the power of it that the arithmetic grows by, and what is run at one size."""

    sizes: tuple[int, int, int, int]
    expected: float
    at: Callable[[int], Run]


def embedding(images: int) -> Run:
    encoder, batch = Encoder.named("conv4net"), torch.randn(8, 3, 84, 84)
    return lambda: [encoder(batch) for _ in range(images // 8)]


def evaluating(episodes: int) -> Run:
    settings = EvaluationConfig.model_validate(
        {
            "data": {"kind": "digit-scenes"},
            "episodes": {"count": episodes, "n_query": 2},
            "run": {"batch_size": 16},
        }
    )
    encoder = Encoder.named("conv4net")
    dataset = DigitScenes(part="novel", size=84)
    return lambda: episodes_of(settings, encoder, dataset)


def searching(rows: int, k: int = 100) -> Run:
    generator = torch.Generator().manual_seed(0)
    bank = MemoryBank.from_embeddings(torch.randn(rows, 128, generator=generator))
    query = torch.randn(1, 128, generator=generator)
    return lambda: bank.search(query, k=k)


def explaining(ways: int = 5, shots: int = 5, channels: int = 256, side: int = 7) -> Run:
    """Explain queries whose features are known, with maps of both sides."""
    torch.manual_seed(0)
    encoder = Encoder.wrap(nn.Sequential(nn.Conv2d(3, channels, 1)), layer="0")
    compared = compare(encoder, torch.randn(8, 3, side, side), torch.randn(ways, shots, 3, side, side))
    return lambda: explain_compared(compared, "contrast", Choice())


def pairing(side: int) -> Run:
    torch.manual_seed(0)
    encoder = Encoder.wrap(nn.Sequential(nn.Conv2d(3, 256, 1)), layer="0")
    found = explain(encoder, torch.randn(3, side, side), torch.randn(2, 1, 3, side, side), method="exact")
    return lambda: correspondence(found)


def drawing_finer(detail: int) -> Run:
    torch.manual_seed(0)
    encoder, query = Encoder.named("torchvision:resnet18"), torch.randn(1, 3, 224, 224)
    supports, finer = encoder(torch.randn(2, 3, 224, 224)).unflatten(2, 1), encoder.with_detail(detail)
    return lambda: explain(finer, query, supports, method="contrast")


def masking(masks: int) -> Run:
    encoder, image = Encoder.named("conv4net"), torch.randn(3, 84, 84)
    return lambda: saliency(encoder, image, method="relax", options=RelaxOptions(masks=masks))


GROWTHS: Mapping[str, Growth] = {
    "images embedded": Growth((16, 32, 64, 128), 1, embedding),
    "episodes": Growth((8, 16, 32, 64), 1, evaluating),
    "masks of RELAX": Growth(RELAX_MASKS, 1, masking),
    "rows": Growth((25_000, 50_000, 100_000, 200_000), 1, searching),
    "k": Growth((50, 100, 200, 400), 0, lambda k: searching(100_000, k)),
    "ways": Growth((5, 10, 20, 40), 1, lambda ways: explaining(ways=ways)),
    "shots": Growth((5, 10, 20, 40), 1, lambda shots: explaining(shots=shots)),
    "channels": Growth((256, 512, 1024, 2048), 1, lambda channels: explaining(channels=channels)),
    "side of the maps": Growth((7, 14, 28, 56), 2, lambda side: explaining(side=side)),
    "side of both maps, pairs of cells": Growth((4, 8, 16, 32), 4, pairing),
    "detail (0 to 3: 7×7 to 56×56 cells)": Growth((1, 2, 4, 8), 0, lambda side: drawing_finer(side.bit_length() - 1)),
}


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=GROWTHS, default=[*GROWTHS])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| quantity | four sizes | milliseconds | exponent | of the arithmetic |\n|---|---|---|---|---|")
    measured = {}
    for name in options.only:
        growth = GROWTHS[name]
        measured[name] = in_turn([growth.at(size) for size in growth.sizes], options.rounds)
        sizes = ", ".join(f"{size:,}" for size in growth.sizes)
        times = ", ".join(f"{1e3 * seconds:.3g}" for seconds in measured[name])
        print(
            f"| {name} | {sizes} | {times} | {exponent(growth, measured[name]):.2f} | {growth.expected} |", flush=True
        )
    if options.out is not None:
        draw(measured, options.out)


def exponent(growth: Growth, seconds: list[float]) -> float:
    """Return the power of the size that the time grows by, between the two largest sizes."""
    return float(np.log(seconds[-1] / seconds[-2]) / np.log(growth.sizes[-1] / growth.sizes[-2]))


def draw(measured: Mapping[str, list[float]], path: Path) -> None:
    """Draw the times, and the growth of the arithmetic from the largest size downward."""
    columns = min(4, len(measured))
    lines = -(-len(measured) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.1 * columns, 2.7 * lines), squeeze=False)
    for axis in axes.flat[len(measured) :]:
        axis.axis("off")
    for axis, (name, seconds) in zip(axes.flat, measured.items(), strict=False):
        growth = GROWTHS[name]
        sizes, times = np.array(growth.sizes), 1e3 * np.array(seconds)
        axis.loglog(sizes, times[-1] * (sizes / sizes[-1]) ** growth.expected, "--", color="0.6", label="arithmetic")
        axis.loglog(sizes, times, "o-", color="C0", label=f"measured, exponent {exponent(growth, seconds):.2f}")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.tick_params(axis="y", labelsize=8)
        axis.set_ylim(times.min() / 2, times.max() * 2)
        axis.set_title(name, fontsize=10)
        axis.set_ylabel("ms", fontsize=8)
        axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


if __name__ == "__main__":
    main()
