"""What an evaluation costs over its floor: one forward pass per unique image and one per masked query.

    python benchmarks/evaluation_cost.py [--encoder conv4net] [--episodes 40] [--batch-size 64] [--repeats 3]
    OMP_NUM_THREADS=1 python benchmarks/evaluation_cost.py --batch-size 16 --inference folded  # in processor time

Both sides run in one process, on the same images, with the same batch size and threads: the floor repeats the
network calls of the evaluation, batch by batch, and nothing else. With ``--inference`` the evaluation runs a faster
form of the network, and there are two floors, the network itself and that form. Drawing the images is part of the
evaluation and of no floor, unless they are ``--in-memory`` on both sides. Both sides keep freed memory, as the command
line does; one more floor, measured before that is asked for, is the network in a program that gives it back to the
system, as programs do by themselves. Ratios are the figures; absolute times of a shared machine mean little. Prints one
line per repeat and the medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from episodes import DigitScenes, LabeledImage, LabeledImages, direct_resize, prepare
from fsl_explain import Encoder
from fsl_explain.backbones.inference_modes import INFERENCE_MODES
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig
from fsl_explain.freed_memory import keep_freed_memory


class InMemory:
    """A data set whose images were all drawn beforehand."""

    def __init__(self, dataset: LabeledImages) -> None:
        self.dataset = dataset
        self.images = [dataset[number] for number in range(len(dataset))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> LabeledImage:
        return self.images[number]


class Recorder:
    """Counts what goes through a network while an evaluation runs."""

    def __init__(self, encoder: Encoder) -> None:
        self.network = encoder.network
        self.batches: list[int] = []

    def __enter__(self) -> "Recorder":
        self.handle = self.network.register_forward_pre_hook(lambda _, args: self.batches.append(len(args[0])))
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def forwards(encoder: Encoder, pixels: Tensor, batches: list[int]) -> None:
    """Run the network alone on batches of these sizes."""
    with torch.no_grad():
        for size in batches:
            encoder.network(pixels[:size])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="conv4net")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inference", choices=INFERENCE_MODES, default="eager")
    parser.add_argument("--in-memory", action="store_true", help="draw the images before the clock runs")
    options = parser.parse_args()
    itself = Encoder.named(options.encoder)
    encoder = itself if options.inference == "eager" else Encoder.named(options.encoder, inference=options.inference)
    size = encoder.image_size or 224
    dataset: Any = DigitScenes(part="novel", size=size)
    dataset = InMemory(dataset) if options.in_memory else dataset
    settings = EvaluationConfig.model_validate(
        {
            "data": {"kind": "digit-scenes"},
            "episodes": {"count": options.episodes, "n_query": 5},
            "run": {"batch_size": options.batch_size},
        }
    )
    transform = direct_resize(size, *(encoder.normalization or ([0.5] * 3, [0.5] * 3)))
    pixels = torch.stack([prepare(dataset[i], transform).pixels for i in range(options.batch_size)])
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    itself.network.eval()
    what = f"{options.encoder}, {options.inference}, at {size}×{size}, batches of {options.batch_size}"
    print(f"{what}, {torch.get_num_threads()} threads, {CLOCK.__name__}")
    with Recorder(encoder) as recorder:
        episodes_of(settings, encoder, dataset)
    batches = list(recorder.batches)
    floors = {"the network itself": itself} | ({} if itself is encoder else {f"its {options.inference} form": encoder})
    ratios: dict[str, list[float]] = {name: [] for name in floors}
    given_back = [seconds(lambda: forwards(itself, pixels, batches)) for _ in range(options.repeats)]
    kept = keep_freed_memory()
    print(f"freed memory is {'' if kept else 'not '}kept from here on")
    every = []
    for repeat in range(options.repeats):
        before = {name: seconds(lambda one=one: forwards(one, pixels, batches)) for name, one in floors.items()}
        ours = seconds(lambda: episodes_of(settings, encoder, dataset))
        every.append(ours)
        for name, one in floors.items():
            floor = (before[name] + seconds(lambda one=one: forwards(one, pixels, batches))) / 2
            ratios[name].append(ours / floor)
            print(f"  run {repeat}: {sum(batches)} forwards, evaluation {ours:.1f} s, {name} {floor:.1f} s")
    for name, found in ratios.items():
        print(f"evaluation : {name} = {statistics.median(found):.3f} (median of {options.repeats})")
    loose = statistics.median(every) / statistics.median(given_back)
    print(f"evaluation : the network itself, where freed memory is given back = {loose:.3f} (of two medians)")


if __name__ == "__main__":
    main()
