"""Train the toy of photographs: a Vision Transformer that repeats EfficientNet-Lite0's embedding in two readouts.

    python benchmarks/token_mosaics/train.py [--out results/photo-vit.safetensors] [--minutes 20] [--crops 10]

Trained on the images that the mosaics' configurations keep for fitting heads, which appear in no mosaic, and on the
pets. Random crops are passed once through EfficientNet-Lite0; the class token and the patches' mean, both behind the
last normalization, learn the direction of its pooled features, centered and projected to their principal components.
The cosine of both readouts is printed for crops of images that were not trained on. How far it comes in the given
minutes depends on the machine.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from photo_vit import CHECKPOINT, LITE, WIDTH, Teacher, photo_vit, tokens_of
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from episodes import LabeledImages
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import ComparisonConfig, MosaicsConfig, read_config
from fsl_explain.evaluation.mosaics.mosaic_images import crop_area, split_images

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "live"
MOSAICS = ("mosaics-cub10.toml", "mosaics-tiny-imagenet-boxes.toml")
PETS = "compare-pets.toml"
BATCH, RATE, WEIGHT_DECAY, TEMPERATURE = 96, 1e-3, 0.05, 0.1
HELD_OUT = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--crops", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    trained, held_out = pictures()
    teacher = Teacher().eval()
    maps, pooled = taught(teacher, (crop for one in trained for crop in crops(one, options.crops, rng)))
    test_maps, test_pooled = taught(teacher, (crop for one in held_out for crop in crops(one, 1, rng)))
    print(f"{len(trained)} images, {len(maps)} crops; {len(test_maps)} crops of other images", flush=True)
    center = pooled.mean(dim=0)
    components = torch.linalg.svd(pooled - center, full_matrices=False)[2][:WIDTH]
    network = photo_vit()
    network.conv_proj[0] = teacher.stem
    train(network, maps, (pooled - center) @ components.T, 60 * options.minutes)
    report(network, test_maps, (test_pooled - center) @ components.T)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, options.out)
    print(options.out)


Picture = tuple[PIL.Image.Image, tuple[float, float, float, float]]  # an image, and the square around its object


def pictures() -> tuple[list[Picture], list[Picture]]:
    """Return the images to train on and some of those that mosaics are made of."""
    trained, held_out = [], []
    for name in MOSAICS:
        settings = read_config(CONFIGS / name, MosaicsConfig)
        dataset, sizes = settings.data.open(), sizes_of(settings.mosaics)
        parts = split_images(dataset, sizes.fit_share, sizes.seed)
        trained += opened(dataset, parts.fitting)
        held_out += opened(dataset, parts.mosaics)
    pets = read_config(CONFIGS / PETS, ComparisonConfig).data.open()
    chosen = np.random.default_rng(0).permutation(len(held_out))[:HELD_OUT]
    return trained + opened(pets, np.arange(len(pets))), [held_out[index] for index in chosen]


def opened(dataset: LabeledImages, indices: np.ndarray) -> list[Picture]:
    """Return images with the square around their objects, small enough to be kept."""
    found = []
    for index in indices.tolist():
        labeled = dataset[index]
        area = crop_area(labeled, "box")
        scale = min(1.0, 320 / min(labeled.image.size))
        width, height = (round(scale * side) for side in labeled.image.size)
        found.append((labeled.image.resize((width, height)), tuple(scale * edge for edge in area)))
    return found


def crops(picture: Picture, count: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield random crops, half of them near the square around the object, mirrored at random."""
    image, (left, top, right, bottom) = picture
    for number in range(count):
        if number % 2 == 0:
            middle, side = ((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top)
            side = min(side * rng.uniform(0.8, 1.3), *image.size)
            corner = [center - side / 2 + side * rng.uniform(-0.15, 0.15) for center in middle]
        else:
            side = min(image.size) * rng.uniform(0.4, 1.0)
            corner = [rng.uniform(0, extent - side) for extent in image.size]
        x, y = (min(max(0.0, place), extent - side) for place, extent in zip(corner, image.size, strict=True))
        crop = image.resize((LITE.size, LITE.size), PIL.Image.Resampling.BILINEAR, (x, y, x + side, y + side))
        pixels = LITE.transform(crop)
        yield pixels.flip(-1) if rng.random() < 0.5 else pixels


def taught(teacher: Teacher, images: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the stem's maps, in bfloat16, and the embeddings that the transformer learns from."""
    found, images = [], iter(images)
    with torch.no_grad():
        while batch := list(islice(images, 32)):
            maps, pooled = teacher(torch.stack(batch).contiguous(memory_format=torch.channels_last))
            found.append((maps.bfloat16().contiguous(), pooled))
    maps, pooled = zip(*found, strict=True)
    return torch.cat(maps), torch.cat(pooled)


def train(network: VisionTransformer, maps: Tensor, targets: Tensor, seconds: float) -> None:
    """Train all behind the stem in place, for so many seconds."""
    learning = [value for name, value in network.named_parameters() if not name.startswith("conv_proj.0.")]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=WEIGHT_DECAY)
    start, step, losses = time.monotonic(), 0, []
    while (share := (time.monotonic() - start) / seconds) < 1:
        rate = RATE * min((step + 1) / 100, 0.5 * (1 + float(np.cos(np.pi * share))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(len(maps), (BATCH,))
        loss = loss_of(readouts(network, maps[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {100 * share:.0f} % of the time: loss {np.mean(losses[-50:]):.3f}", flush=True)


def readouts(network: VisionTransformer, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the class token and the mean of the patches."""
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        tokens = tokens_of(network, maps.float()).float()
    return tokens[:, 0], tokens[:, 1:].mean(dim=1)


def loss_of(embeddings: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Return 1 - cosine to the targets, and how badly each finds its own target in the batch, of every readout."""
    total = targets.new_zeros(())
    for embedding in embeddings:
        similarities = F.normalize(embedding, dim=1) @ F.normalize(targets, dim=1).T
        found = F.cross_entropy(similarities / TEMPERATURE, torch.arange(len(targets)))
        total = total + 1 - similarities.diagonal().mean() + 0.1 * found
    return total


def report(network: VisionTransformer, maps: Tensor, targets: Tensor) -> None:
    """Print the mean cosine of both readouts to the targets of crops that were not trained on."""
    with torch.no_grad():
        for name, embedding in zip(("class", "mean"), readouts(network.eval(), maps), strict=True):
            print(f"held-out cosine, {name}: {F.cosine_similarity(embedding, targets).mean():.3f}")


if __name__ == "__main__":
    main()
