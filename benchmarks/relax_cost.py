"""What RELAX costs over the bare forward passes of the same batches, and the memory it needs.

    python benchmarks/relax_cost.py [--encoder torchvision:resnet50] [--masks 256] [--memory 256 2048] [--repeats 5]
    OMP_NUM_THREADS=1 python benchmarks/relax_cost.py  # in processor time, which other programs do not change

One image, random weights. First the time of RELAX : that of the network alone on as many masked images, in batches of
the same size; every repeat times batches of both sides in turn, so that both see the same machine, and RELAX is given
as many masks as ``--masks`` says, 128 at a time. The ratio is that of the two sums; the median over repeats is
printed. Then the largest resident memory of a fresh process that draws each of the ``--memory`` numbers of masks with
one convolution at 224×224, less what it was after 64 masks: it should not grow with the number. ``--masks 2048`` is
the full-length measurement, and ``--memory`` without numbers leaves the memory out.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from fsl_explain import Encoder, RelaxOptions, relax
from fsl_explain.backbones.capture import evaluating

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
BATCH_SIZE = 32


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def bare_forwards(encoder: Encoder, batch: torch.Tensor, batches: int) -> None:
    with evaluating(encoder.network):
        for _ in range(batches):
            encoder.network(batch)


def time_ratio(name: str, masks: int, repeats: int) -> None:
    encoder = Encoder.named(name)
    size = encoder.image_size or 224
    image = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))
    batch = image.repeat(BATCH_SIZE, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    bare_forwards(encoder, batch, 1)
    chunk, ratios = min(masks, 4 * BATCH_SIZE), []
    relax(encoder, image, options=RelaxOptions(masks=BATCH_SIZE, batch_size=BATCH_SIZE))
    for _ in range(repeats):
        whole = floor = 0.0
        for seed in range(masks // chunk):
            options = RelaxOptions(masks=chunk, batch_size=BATCH_SIZE, seed=seed)
            whole += seconds(lambda options=options: relax(encoder, image, options=options))
            floor += seconds(lambda: bare_forwards(encoder, batch, chunk // BATCH_SIZE))
        ratios.append(whole / floor)
        print(f"  {masks} masks: {whole:.1f} s : {floor:.1f} s = {whole / floor:.3f}", flush=True)
    print(f"RELAX : its forwards = {statistics.median(ratios):.3f} ({masks} masks, {name} at {size}×{size})")


def memory_of(masks: int) -> None:
    """Print how far the largest resident memory rises over that after the first batches, in MiB."""
    encoder, image = Encoder.wrap(nn.Sequential(nn.Conv2d(3, 64, 16, stride=16)), "0"), torch.randn(3, 224, 224)
    relax(encoder, image, options=RelaxOptions(masks=2 * BATCH_SIZE, batch_size=BATCH_SIZE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    relax(encoder, image, options=RelaxOptions(masks=masks, batch_size=BATCH_SIZE))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"  {masks} masks: {after / 1024:.0f} MiB at most, {(after - before) / 1024:.1f} MiB more than after 64 masks"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="torchvision:resnet50")
    parser.add_argument("--masks", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[256, 2048])
    parser.add_argument("--only-memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_memory_of is not None:
        memory_of(options.only_memory_of)
        return
    print(f"{torch.get_num_threads()} threads, {CLOCK.__name__}, batches of {BATCH_SIZE}")
    whole_chunks = 4 * BATCH_SIZE if options.masks > 4 * BATCH_SIZE else BATCH_SIZE
    if options.masks % whole_chunks:
        parser.error(f"expected a multiple of {whole_chunks} masks, but got {options.masks}")
    time_ratio(options.encoder, options.masks, options.repeats)
    print("largest resident memory of a fresh process, one convolution at 224×224", flush=True)
    for masks in options.memory:
        subprocess.run([sys.executable, __file__, "--only-memory-of", str(masks)], check=True)


if __name__ == "__main__":
    main()
