"""What an evaluation costs over its floor: one forward pass per unique image and one per masked query.

    python benchmarks/evaluation_cost.py [--encoder conv4net] [--episodes 40] [--batch-size 64] [--repeats 3]
    OMP_NUM_THREADS=1 python benchmarks/evaluation_cost.py --batch-size 16 --inference eager  # in processor time

Both sides run in one process, on the same images, with the same batch size and threads: the floor repeats the
network calls of the evaluation, batch by batch, and nothing else. The evaluation runs the network as the command line
does, folded where that is equal, or in the form that ``--inference`` names; where that is another than the network
itself, there are two floors, the network itself and that form. Drawing the images is part of the
evaluation and of no floor, unless they are ``--in-memory`` on both sides. Both sides keep freed memory, as the command
line does; one more floor, measured before that is asked for, is the network in a program that gives it back to the
system, as programs do by themselves. The steadiest ratio is that over the evaluation's own forward passes, which are
timed inside it: a machine that grows slow for a while is slow for both. Beside it stands what the same costs by hand,
with nothing explained, decided, checked or kept. With ``--steps``, the steps of one more evaluation, in parts of its
forward passes. Ratios are the figures; absolute times of a shared machine mean
little. Prints one line per repeat and the medians.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from episodes import DigitScenes, LabeledImage, LabeledImages, direct_resize, prepare
from fsl_explain import Encoder, metrics
from fsl_explain.backbones.inference_modes import AUTO, EAGER, INFERENCE_MODES
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation import episodes as evaluated
from fsl_explain.evaluation import image_store, masked_queries, measured_episodes
from fsl_explain.explainers.normalization import min_max_map, upsample
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


class Steps:
    """Counts how long the steps of an evaluation take, in time of their thread, without the steps within them."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self.within = threading.local()

    def __enter__(self) -> "Steps":
        self.patches = [patch.object(owner, name, self._timed(step, owner, name)) for step, owner, name in STEPS_AT]
        for one in self.patches:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.patches:
            one.stop()

    def _timed(self, step: str, owner: Any, name: str) -> Callable[..., Any]:
        function = getattr(owner, name)

        def called(*args: Any, **options: Any) -> Any:
            outside, self.within.seconds, start = getattr(self.within, "seconds", 0.0), 0.0, time.thread_time()
            result = function(*args, **options)
            taken = time.thread_time() - start
            self.seconds[step] += taken - self.within.seconds
            self.within.seconds = outside + taken
            return result

        return called


class Recorder:
    """Counts what goes through a network while an evaluation runs, and how long its forward passes take there."""

    def __init__(self, encoder: Encoder) -> None:
        self.network = encoder.network
        self.batches: list[int] = []
        self.seconds = self.began = 0.0

    def __enter__(self) -> "Recorder":
        self.handles = [
            self.network.register_forward_pre_hook(self._begins),
            self.network.register_forward_hook(self._ends),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _begins(self, _: object, args: tuple[Tensor, ...]) -> None:
        self.batches.append(len(args[0]))
        self.began = OF_THE_NETWORK()

    def _ends(self, *_: object) -> None:
        self.seconds += OF_THE_NETWORK() - self.began


WRAPPER = "the wrapper of the network"
STEPS_AT = [
    ("images read, by other threads", image_store, "_read"),
    (WRAPPER, Encoder, "__call__"),
    ("images kept", evaluated, "_embedded"),
    ("masked images", masked_queries.Judge, "_masked"),
    ("masks", masked_queries.Judge, "embed_masked"),
    ("figures of maps", masked_queries.Judge, "of_maps"),
    ("maps", measured_episodes, "judge"),
    ("questions", measured_episodes, "_question"),
]
STEPS = [step for step, *_ in STEPS_AT]
ALONE = torch.get_num_threads() == 1
IMAGES_BY_HAND, BATCHES_TOGETHER = 200, 4
CLOCK = time.process_time if ALONE else time.perf_counter
OF_THE_NETWORK = time.thread_time if ALONE else time.perf_counter  # threads that read images run beside it


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def forwards(encoder: Encoder, pixels: Tensor, batches: list[int]) -> None:
    """Run the network alone on batches of these sizes."""
    with torch.no_grad():
        for size in batches:
            encoder.network(pixels[:size])


def bare(encoder: Encoder, images: list[Any], batches: list[int], size: int, measured: bool) -> None:
    """Do by hand what nobody can leave out: masks, masked images, forward passes and, if ``measured``, three figures.

    Nothing is explained, decided, checked or kept; the maps are noise, enlarged as every method enlarges its cells.
    Figures are of several batches of maps at once, as in an evaluation.
    """
    pixels = torch.stack([image.pixels.permute(1, 2, 0) for image in images])
    inside = torch.stack([image.target_mask for image in images])
    boxes = torch.stack([image.target_box for image in images])
    unmasked = -(-len(images) // max(batches))
    waiting: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for number, count in enumerate(batches):
            rows = torch.arange(number, number + count) % len(images)
            seen = pixels.index_select(0, rows)
            if number < unmasked:
                encoder.network(seen.permute(0, 3, 1, 2))
                continue
            saliency = min_max_map(upsample(torch.rand(count, 5, 5), (size, size)))
            encoder.network((seen * saliency[..., None]).permute(0, 3, 1, 2))
            waiting.append((rows, saliency))
            if measured and (len(waiting) == BATCHES_TOGETHER or number == len(batches) - 1):
                together, maps = (torch.cat(parts) for parts in zip(*waiting, strict=True))
                waiting.clear()
                metrics.proportion(maps, inside[together])
                metrics.pointing_game(maps, inside[together])
                metrics.intersection_over_union(maps, boxes[together])


def print_steps(settings: EvaluationConfig, encoder: Encoder, dataset: LabeledImages) -> None:
    with Steps() as steps, Recorder(encoder) as within:
        whole = seconds(lambda: episodes_of(settings, encoder, dataset))
    taken = steps.seconds | {WRAPPER: steps.seconds[WRAPPER] - within.seconds}
    taken["the rest"] = whole - within.seconds - sum(taken.values())
    print(", ".join(f"{step} {100 * part / within.seconds:.1f} %" for step, part in taken.items()))


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="conv4net")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inference", choices=(AUTO, *INFERENCE_MODES), default=AUTO)
    parser.add_argument("--in-memory", action="store_true", help="draw the images before the clock runs")
    parser.add_argument("--steps", action="store_true", help="print what each step adds to the forward passes")
    return parser.parse_args()


def main() -> None:
    options = asked()
    itself, made = (Encoder.named(options.encoder, inference=mode) for mode in (EAGER, options.inference))
    encoder = itself if made.inference == EAGER else made
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
    images = [prepare(dataset[number], transform) for number in range(min(len(dataset), IMAGES_BY_HAND))]
    pixels = torch.stack([one.pixels for one in images[: options.batch_size]]).contiguous(
        memory_format=torch.channels_last
    )
    itself.network.eval()
    what = f"{options.encoder}, {encoder.inference}, at {size}×{size}, batches of {options.batch_size}"
    print(f"{what}, {torch.get_num_threads()} threads, {CLOCK.__name__}")
    with Recorder(encoder) as recorder:
        episodes_of(settings, encoder, dataset)
    batches = list(recorder.batches)
    floors = {"the network itself": itself} | ({} if itself is encoder else {f"its {encoder.inference} form": encoder})
    ratios: dict[str, list[float]] = {name: [] for name in floors}
    given_back = [seconds(lambda: forwards(itself, pixels, batches)) for _ in range(options.repeats)]
    print(f"freed memory is {'' if keep_freed_memory() else 'not '}kept from here on")
    every, own, waiting = [], [], []
    by_hand: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(options.repeats):
        before = {name: seconds(lambda one=one: forwards(one, pixels, batches)) for name, one in floors.items()}
        with Recorder(encoder) as within:
            start = time.perf_counter()
            ours = seconds(lambda: episodes_of(settings, encoder, dataset))
            on_the_wall = time.perf_counter() - start
        for measured, found in by_hand.items():
            with Recorder(encoder) as of_bare:
                least = seconds(lambda measured=measured: bare(encoder, images, batches, size, measured))
            found.append(least / of_bare.seconds)
        every.append(ours)
        own.append(ours / within.seconds)
        waiting.append(on_the_wall / within.seconds)
        for name, one in floors.items():
            floor = (before[name] + seconds(lambda one=one: forwards(one, pixels, batches))) / 2
            ratios[name].append(ours / floor)
            print(f"  run {repeat}: {sum(batches)} forwards, evaluation {ours:.1f} s, {name} {floor:.1f} s")
    if options.steps:
        print_steps(settings, encoder, dataset)
    for name, found in ratios.items():
        print(f"evaluation : {name} = {statistics.median(found):.3f} (median of {options.repeats})")
    name = "its own forward passes, timed inside it"
    print(f"evaluation : {name} = {statistics.median(own):.3f}, on the wall {statistics.median(waiting):.3f}")
    for measured, found in by_hand.items():
        what = "masks, passes and figures" if measured else "masks and passes"
        print(f"by hand, with nothing but {what} : its forward passes = {statistics.median(found):.3f}")
    loose = statistics.median(every) / statistics.median(given_back)
    print(f"evaluation : the network itself, where freed memory is given back = {loose:.3f} (of two medians)")


if __name__ == "__main__":
    main()
