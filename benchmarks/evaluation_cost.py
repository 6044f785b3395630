"""What an evaluation costs over its floor: one forward pass per unique image and one per masked query.

    python benchmarks/evaluation_cost.py [--encoder conv4net] [--episodes 40] [--batch-size 64] [--repeats 3]

Both sides run in one process, on the same images, with the same batch size and threads: the floor repeats the
network calls of the evaluation, batch by batch, and nothing else. Ratios are the figures; absolute times of a
shared machine mean little. Prints one line per repeat and the median.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from episodes import DigitScenes, direct_resize, prepare
from fsl_explain import Encoder
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig


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


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


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
    options = parser.parse_args()
    encoder = Encoder.named(options.encoder)
    size = encoder.image_size or 224
    dataset = DigitScenes(part="novel", size=size)
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
    encoder.network.eval()
    print(f"{options.encoder} at {size}×{size}, batches of {options.batch_size}, {torch.get_num_threads()} threads")
    with Recorder(encoder) as recorder:
        episodes_of(settings, encoder, dataset)
    batches = list(recorder.batches)
    ratios = []
    for repeat in range(options.repeats):
        before = seconds(lambda: forwards(encoder, pixels, batches))
        ours = seconds(lambda: episodes_of(settings, encoder, dataset))
        after = seconds(lambda: forwards(encoder, pixels, batches))
        floor = (before + after) / 2
        ratios.append(ours / floor)
        print(
            f"  run {repeat}: {sum(batches)} forwards, floor {floor:.1f} s, evaluation {ours:.1f} s, "
            f"ratio {ours / floor:.3f}"
        )
    print(f"evaluation : floor = {statistics.median(ratios):.3f} (median of {options.repeats})")


if __name__ == "__main__":
    main()
