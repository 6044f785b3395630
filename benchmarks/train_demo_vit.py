"""Train the Vision Transformer of the demo on digit scenes, so that its class token and its patches' mean both decide.

    python benchmarks/train_demo_vit.py [--out demo-vit-digit-scenes.safetensors] [--epochs 16] [--per-class 500]

Both readouts get the same two losses with weights of their own: cross-entropy over the 16 base classes, and the
few-shot loss of episodes cut from each batch (1 support and the other images of a class as queries). AdamW with warm-up
and a cosine schedule, matrix products in bfloat16 where that is fast; scenes are shifted, and their channels exchanged.
The weights are written in float16. The accuracies are those of the written weights, 5-way 1-shot by cosine, of
episodes of base classes in scenes that were not trained on, and of the novel digits; the novel ones are only tested.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from episodes import EpisodeSampler
from episodes.datasets.digit_scenes import DigitScenes
from fsl_explain.backbones.networks.demo_vit import SIDE, demo_vit
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.metrics import mean_interval
from fsl_explain.similarities import cosine
from fsl_explain.training.losses import few_shot_loss

READOUTS = ("class", "mean")
IMAGES_OF_A_CLASS = 5
SHIFT = 5
RATE, WARM_UP, WEIGHT_DECAY, TEMPERATURE = 1e-3, 0.05, 0.05, 10.0
TESTED = 600
OTHER_SCENES = 1000  # the seed of scenes that are not trained on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo-vit-digit-scenes.safetensors"))
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    network = demo_vit()
    print(f"{sum(one.numel() for one in network.parameters()):,} parameters", flush=True)
    pixels, labels, classes = scenes("base", options.per_class, seed=1)
    train(network, pixels, labels, options.epochs)
    save_file({name: value.half() for name, value in network.state_dict().items()}, options.out, metadata(classes))
    network.load_state_dict(load_file(options.out))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    for part in ("base", "novel"):
        report(part, network)


def scenes(part: str, per_class: int, seed: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return the prepared scenes (image, 3, side, side), their labels, and the names of the classes."""
    dataset, transform = DigitScenes(part, per_class=per_class, seed=seed), Preprocessing(SIDE).transform
    pixels = torch.stack([transform(dataset[index].image).half() for index in range(len(dataset))])
    return pixels, torch.from_numpy(dataset.labels), dataset.classes


def metadata(classes: tuple[str, ...]) -> dict[str, str]:
    """Say which classes the weights were trained on, as ``fsl-explain train`` says it."""
    trained_on = [{"data": "digit-scenes", "split": "digit-scenes", "classes": list(classes)}]
    manifest = {"network": "demo-vit", "settings": {}, "release": "train_demo_vit.py", "trained_on": trained_on}
    return {"fsl_explain": json.dumps(manifest)}


def readouts(network: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the class token and the mean of the patches, both behind the last normalization."""
    patches = network._process_input(images)
    tokens = network.encoder(torch.cat([network.class_token.expand(len(images), -1, -1), patches], dim=1))
    return tokens[:, 0], tokens[:, 1:].mean(dim=1)


def train(network: VisionTransformer, pixels: Tensor, labels: Tensor, epochs: int) -> None:
    """Train in place, a batch of so many images of each class at a time."""
    classes = int(labels.max()) + 1
    members = torch.stack([torch.nonzero(labels == label)[:, 0] for label in range(classes)])
    heads = nn.ModuleList(nn.Linear(network.hidden_dim, classes) for _ in READOUTS)
    learning = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=WEIGHT_DECAY)
    steps = members.shape[1] // IMAGES_OF_A_CLASS
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step / (steps * epochs)))
    network.train()
    for epoch in range(epochs):
        order = torch.stack([row[torch.randperm(len(row))] for row in members])
        losses = []
        for batch in order.split(IMAGES_OF_A_CLASS, dim=1)[:steps]:
            loss = loss_of(network, heads, augmented(pixels[batch.flatten()].float()), classes)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        print(f"epoch {epoch + 1} of {epochs}: loss {sum(losses) / len(losses):.3f}", flush=True)
    network.eval()


def rate_at(share: float) -> float:
    """Rise for the first steps, then fall as a cosine to 0."""
    return min(share / WARM_UP, 0.5 * (1 + math.cos(math.pi * share)))


def loss_of(network: VisionTransformer, heads: nn.ModuleList, images: Tensor, classes: int) -> Tensor:
    """Return the sum of both losses of both readouts; images come class after class."""
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        embeddings = readouts(network, images)
    labels = torch.arange(classes).repeat_interleave(IMAGES_OF_A_CLASS)
    total = images.new_zeros(())
    for head, embedding in zip(heads, embeddings, strict=True):
        by_class = embedding.float().unflatten(0, (classes, IMAGES_OF_A_CLASS))
        queries = by_class[:, 1:].flatten(0, 1)
        places = torch.arange(classes).repeat_interleave(IMAGES_OF_A_CLASS - 1)
        total = total + F.cross_entropy(head(embedding.float()), labels)
        total = total + few_shot_loss(queries[None], by_class[None, :, :1], places[None], TEMPERATURE)
    return total


def augmented(images: Tensor) -> Tensor:
    """Shift each scene by up to 5 pixels, its edge repeated, and exchange its channels at random."""
    count, side = len(images), images.shape[-1]
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    rows, columns = (torch.randint(2 * SHIFT + 1, (2, count))[:, :, None] + torch.arange(side)).unbind()
    channels = torch.stack([torch.randperm(3) for _ in range(count)])
    shifted: Tensor = padded[
        torch.arange(count)[:, None, None, None],
        channels[:, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    return shifted


def report(part: str, network: VisionTransformer) -> None:
    """Print the accuracy of both readouts, in episodes of scenes that were not trained on."""
    pixels, labels, names = scenes(part, 40, seed=OTHER_SCENES)
    with torch.no_grad():
        found = [readouts(network, batch.float()) for batch in pixels.split(100)]
    sampler = EpisodeSampler(labels, n_way=5, n_shot=1, n_query=5, class_names=names)
    for readout, embeddings in zip(READOUTS, map(torch.cat, zip(*found, strict=True)), strict=True):
        hits = []
        for episode in sampler.episodes(TESTED):
            similarities = cosine.pairwise(embeddings[episode.query.ravel()], embeddings[episode.support[:, 0]])
            truth = torch.arange(5).repeat_interleave(5)
            hits.append((similarities.argmax(dim=1) == truth).double().mean())
        mean, half_width, count = mean_interval(torch.stack(hits))
        print(f"{part}, {readout}: {100 * mean:.1f} ± {100 * half_width:.1f} % over {count} episodes")


if __name__ == "__main__":
    main()
