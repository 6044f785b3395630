"""What the metrics of maps cost beside Quantus, and that a stream of maps takes no more memory than one batch of it.

    OMP_NUM_THREADS=1 python benchmarks/metrics_cost.py  # in processor time, which other programs do not change
    python benchmarks/metrics_cost.py [--maps 256] [--repeats 3] [--streamed 10000]

Both sides measure the same maps of 224×224 pixels (7×7 cells enlarged bilinearly, without the flat border, whose ties
Quantus breaks otherwise, scaled to [0, 1]) with the same masks (a box each): pointing game, top-k intersection,
relevance rank accuracy, relevance mass accuracy, AUC and sparseness. A tie at the last place of a rank metric may
remain: it is worth a part of one pixel.
Quantus takes one map at a time, which is its correct use, because it scales a batch by its largest value; its use with
all maps in one batch is measured too, with no further arguments than it asks for (images of one channel, no model).
Ours is ``map_figures``, all six from one sort; the six functions one after the other are measured as well. Sides in
turn, medians over the repeats. Before them comes the peak of the process's memory after streams of batches of 50 maps,
a thousand of them, and all; behind them each sort that ``map_figures`` chooses from, alone, on one map in random order.
"""

import argparse
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fsl_explain import metrics
from fsl_explain.metrics.pixel_ranking import SORTS, Sort, quicker_sort

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
SIDE = 224
BATCH = 50
SORTED_MAPS = 50
SIX = {
    "PointingGame": metrics.pointing_game,
    "TopKIntersection": metrics.top_k_intersection,
    "RelevanceRankAccuracy": metrics.relevance_rank_accuracy,
    "RelevanceMassAccuracy": metrics.relevance_mass_accuracy,
    "AUC": metrics.auc,
    "Sparseness": lambda saliency, _: metrics.sparseness(saliency),
}


def maps_and_masks(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(count, 1, 9, 9, generator=generator)
    maps = interpolate(cells, scale_factor=SIDE // 7, mode="bilinear")[
        :, 0, SIDE // 7 : -(SIDE // 7), SIDE // 7 : -(SIDE // 7)
    ]
    lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    mask = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for one, (top, left) in zip(mask, torch.randint(0, SIDE // 2, (count, 2), generator=generator), strict=True):
        one[top : top + SIDE // 2, left : left + SIDE // 3] = True
    return (maps - lowest) / (highest - lowest), mask


def of_quantus(name: str, maps: Tensor, masks: Tensor, at_once: int) -> Tensor:
    metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False)
    values: list[float] = []
    for part, mask in zip(maps[:, None].split(at_once), masks[:, None].split(at_once), strict=True):
        values += metric(
            model=None,
            x_batch=np.zeros(part.shape, dtype=np.float32),
            y_batch=np.zeros(len(part), dtype=int),
            a_batch=part.numpy().copy(),
            s_batch=mask.numpy(),
            batch_size=at_once,
        )
    return torch.tensor(np.array(values, dtype=np.float64))


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def streamed(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    for number in range(count // BATCH):
        yield maps_and_masks(BATCH, seed=number)


def peak_after(count: int) -> float:
    """Return the peak of the process so far, in MiB, after a stream of so many maps; only the figures are kept."""
    areas = torch.empty(count // BATCH, BATCH)
    for kept, part in zip(areas, streamed(count), strict=True):
        kept.copy_(metrics.map_figures(*part).auc)
    assert 0 < areas.nanmean() < 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sorting(sort: Sort) -> float:
    """Return the median milliseconds of a sort of one map."""
    generator = np.random.default_rng(1)
    maps = [generator.integers(-(2**31), 2**31, SIDE * SIDE, dtype=np.int32) for _ in range(SORTED_MAPS)]
    return 1000 * statistics.median(seconds(partial(sort, row)) for row in maps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--streamed", type=int, default=10_000)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {CLOCK.__name__}; streams of batches of {BATCH}:")
    for count in (BATCH, min(1000, options.streamed), options.streamed):
        print(f"  peak memory after {count:6} maps: {peak_after(count):7.1f} MiB", flush=True)
    maps, masks = maps_and_masks(options.maps)
    sides = {
        "Quantus, one map at a time": lambda: [of_quantus(name, maps, masks, 1) for name in SIX],
        "Quantus, all in one batch": lambda: [of_quantus(name, maps, masks, len(maps)) for name in SIX],
        "ours, six functions": lambda: [function(maps, masks) for function in SIX.values()],
        "ours, one sort": lambda: metrics.map_figures(maps, masks),
    }
    apart = max(
        float((values - function(maps, masks)).abs().max())
        for values, function in zip(sides["Quantus, one map at a time"](), SIX.values(), strict=True)
    )
    print(f"{options.maps} maps of {SIDE}×{SIDE}; largest difference to Quantus {apart:.1e}")
    times = [{name: seconds(side) for name, side in sides.items()} for _ in range(options.repeats)]
    for name in sides:
        taken = statistics.median(run[name] for run in times) / options.maps
        ratio = statistics.median(run[name] / run["ours, one sort"] for run in times)
        print(f"  {name:27} {1000 * taken:8.2f} ms a map, : ours, one sort = {ratio:6.1f}")
    for sort in SORTS:
        chosen = ", which is the one that ours takes here" if sort is quicker_sort() else ""
        print(f"  {'sort' + sort.__name__.replace('_', ' '):27} {sorting(sort):8.2f} ms a map{chosen}")


if __name__ == "__main__":
    main()
