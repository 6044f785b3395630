"""What each inference mode costs over eager, and how far it moves every figure of an evaluation.

    python benchmarks/inference_modes.py [--episodes 20] [--repeats 5] [--root FOLDER] [--skip-evaluation]
    OMP_NUM_THREADS=1 python benchmarks/inference_modes.py  # in processor time, which other programs do not change

For ResNet-50 with random weights and EfficientNet-Lite0, batch of 16 at 224×224: the forward pass of each mode :
those of eager and of folded, the median over repeats of ratios measured side after side in turn, and the largest
difference of its maps as a share of eager's largest value. ``contiguous`` is the network itself on images that are not
channels last. Beside ``compiled`` stand the seconds, as a clock on the wall counts them, of its first batch, once
without any files of PyTorch's compiler and once, in a copy of the encoder, with those that it has left. Below stands
how far the maps of eager and of folded are from those of the network in double precision, in parts of their length:
what single precision loses in either.
Then configs/live/cub10-efficientnet.toml with a few episodes: accuracy and every metric of every method in eager, and
the other modes' differences from it. ``--root`` says where the photographs are, if not where the configuration says.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from fsl_explain import Encoder
from fsl_explain.backbones.inference_modes import INFERENCE_MODES
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.evaluation.measurement import Chunk

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
CONFIG = Path(__file__).resolve().parents[1] / "configs/live/cub10-efficientnet.toml"


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def wall_seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def print_cost(name: str, repeats: int) -> None:
    encoders = {mode: Encoder.named(name, inference=mode) for mode in INFERENCE_MODES}
    images = torch.randn(16, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    contiguous = Encoder.named(name).network.eval().to(memory_format=torch.contiguous_format)

    def plain() -> None:
        with torch.no_grad():
            contiguous(images)

    sides: dict[str, Callable[[], object]] = {mode: lambda mode=mode: encoders[mode](images) for mode in encoders}
    sides["contiguous"] = plain
    compiling = [wall_seconds(lambda: encoders["compiled"](images))]
    compiling.append(wall_seconds(lambda: copy.deepcopy(encoders["compiled"])(images)))
    times: dict[str, list[float]] = {mode: [] for mode in sides}
    for repeat in range(repeats + 1):
        for mode, side in sides.items():
            taken = seconds(side)
            if repeat > 0:
                times[mode].append(taken)
    maps = encoders["eager"](images).maps
    print(f"{name}, batch of 16 at 224×224, {torch.get_num_threads()} threads, {CLOCK.__name__}")
    for mode, taken in times.items():
        ratios = [
            statistics.median(one / other for one, other in zip(taken, times[base], strict=True))
            for base in ("eager", "folded")
        ]
        line = f"  {mode:10} {1000 * statistics.median(taken):7.0f} ms"
        line += f", {ratios[0]:.3f} of eager, {ratios[1]:.3f} of folded"
        if mode in encoders:
            moved = float((encoders[mode](images).maps - maps).abs().max() / maps.abs().max())
            line += f", maps moved by {moved:.1e}"
        if mode == "compiled":
            line += f", first batch {compiling[0]:.0f} s, with the compiler's files {compiling[1]:.0f} s"
        print(line, flush=True)
    print_rounding(name, encoders, images[:4])


def print_rounding(name: str, encoders: dict[str, Encoder], images: torch.Tensor) -> None:
    exact = Encoder.named(name)
    exact.network.double()
    expected = exact(images.double()).maps
    lost = {mode: float((encoders[mode](images).maps.double() - expected).norm()) for mode in ("eager", "folded")}
    words = ", ".join(f"{mode} {gap / float(expected.norm()):.1e}" for mode, gap in lost.items())
    print(f"  from the network in double precision: {words}", flush=True)


def evaluated(mode: str, options: argparse.Namespace) -> dict[tuple[str, str], float]:
    changes = [f"episodes.count={options.episodes}", f'encoder.inference="{mode}"']
    changes += [f'data.root="{Path(options.root).resolve()}"'] if options.root else []
    settings = read_config(CONFIG, EvaluationConfig, changes)
    evaluation = episodes_of(settings, Encoder.from_config(settings.encoder), settings.data.open())
    return figures_of(evaluation)


def figures_of(evaluation: Chunk) -> dict[tuple[str, str], float]:
    """The accuracy, and the mean of every metric of every method over correct decisions, in percent."""
    decisions, measured = evaluation.decisions, evaluation.measurements
    found = {("", "accuracy"): 100 * float(decisions.accuracy.mean())}
    for metric, values in measured.figures.items():
        unit = 1 if metric in ("average_drop", "increase_in_confidence") else 100
        for method, figures in zip(measured.methods, values, strict=True):
            found[method, metric] = unit * float(figures.nanmean())
    return found


def print_evaluation(options: argparse.Namespace) -> None:
    found = {mode: evaluated(mode, options) for mode in INFERENCE_MODES}
    print(
        f"cub10, EfficientNet-Lite0, {options.episodes} episodes, percent: eager, and the others' differences from it"
    )
    largest = dict.fromkeys(INFERENCE_MODES[1:], 0.0)
    for (method, metric), eager in found["eager"].items():
        line = f"  {method:18} {metric:24} {eager:9.4f}"
        for mode in largest:
            moved = found[mode][method, metric] - eager
            largest[mode] = max(largest[mode], abs(moved))
            line += f"  {mode} {moved:+.4f}"
        print(line)
    print("  largest difference: " + ", ".join(f"{mode} {moved:.4f}" for mode, moved in largest.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--root", default=None)
    parser.add_argument("--skip-evaluation", action="store_true")
    options = parser.parse_args()
    for name in ("torchvision:resnet50", "efficientnet-lite0"):
        with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder):
            print_cost(name, options.repeats)
    if not options.skip_evaluation:
        print_evaluation(options)


if __name__ == "__main__":
    main()
