"""Where contrast points at a wrong tile of a mosaic: is the map wrong, or does the model use what lies there?

    python benchmarks/mosaic_removal.py [--config configs/live/mosaics-cub10.toml] [--count 300] [--side 448]

Of the mosaics whose tiles the model tells apart one by one, those are taken where the maximum of the contrast map lies
in a wrong tile, and as many where it lies in the right one. Each set of tiles is removed, and the lead of the reference
over the other three is asked again, fifteen passes a mosaic and way of removing. Said is how much of the lead goes with
the right tile and with the tile that the map points at: alone, in the mean over orders of removal (Shapley values), and
what each has when the other three are gone; and in how many mosaics the right tile matters more.
"""

import argparse
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain import Encoder, metrics
from fsl_explain.batches import slices
from fsl_explain.classifiers import combined
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import MosaicsConfig, read_config
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.mosaics.explained_mosaics import OneHead, fitted_head
from fsl_explain.evaluation.mosaics.mosaic_images import TILES
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.evaluation.tables.paired_bootstrap import paired_difference
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.registries import REMOVALS

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "configs" / "live" / "mosaics-cub10.toml"
CONTRAST = METHODS["contrast"]
SUBSETS = torch.tensor([[bool(number >> tile & 1) for tile in range(TILES)] for number in range(2**TILES)])
ORDERS = torch.tensor([*permutations(range(TILES))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--head", default="class-pca")
    parser.add_argument("--removal", nargs="+", default=["blur", "mean"], choices=REMOVALS)
    parser.add_argument("--most", type=int, default=60, help="mosaics of each kind that are asked about")
    options = parser.parse_args()
    changed = [f"mosaics.count={options.count}", f"mosaics.side={options.side}"]
    settings = read_config(options.config, MosaicsConfig, tuple(changed))
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    dataset = settings.data.open()
    store = embed_mosaics(encoder, dataset, sizes_of(settings.mosaics), batch_size=settings.run.batch_size)
    head = fitted_head(options.head, store, settings.mosaics.seed)
    by = DecidedBy.of("mean-similarity", settings.mosaics.similarity)
    asked = OneHead(store, head.to(store.maps.dtype), head.double(), encoder.pooling, by, encoder)
    pointed, heaviest = tiles_of(asked)
    able = asked.ceilings()["contrast"] == 1
    right = pointed == store.target
    said = {"maximum": right, "sum": heaviest == store.target, "tiles alone": able}
    print(f"{dataset.name}, {options.count} mosaics of {options.side} pixels, head {options.head}:")
    print(
        "  right tile by "
        + ", ".join(f"{name} {100 * float(hits.double().mean()):.1f} %" for name, hits in said.items())
    )
    for words, chosen in {"wrong": able & ~right, "right": able & right}.items():
        places = chosen.nonzero().flatten()
        print(f"  the map points at the {words} tile, the tiles alone are told apart: {len(places)} mosaics")
        for how in options.removal if len(places) else ():
            report(asked, encoder, places[: options.most], pointed, how, settings.run.batch_size)


def tiles_of(asked: OneHead) -> tuple[Tensor, Tensor]:
    """Return the tile of each contrast map's maximum, and the tile of its largest sum."""
    pointed, heaviest = [], []
    for part in slices(len(asked.store.target), 25):
        question = asked.question(CONTRAST, part, asked.store.target[part])
        saliency = asked._saliency(CONTRAST, CONTRAST.attribute(question))
        pointed.append(torch.stack([saliency[:, mask].amax(dim=1) for mask in asked.store.masks], 1).argmax(dim=1))
        heaviest.append(metrics.region_sums(saliency, 2).argmax(dim=1))
    return torch.cat(pointed), torch.cat(heaviest)


def report(asked: OneHead, encoder: Encoder, places: Tensor, pointed: Tensor, how: str, batch_size: int) -> None:
    """Print what the removal of the right tile and of the tile pointed at does."""
    leads = torch.stack([leads_without(asked, encoder, int(place), how, batch_size) for place in places])
    drops = leads[:, :1] - leads
    alone = drops[:, [1 << tile for tile in range(TILES)]]
    along = (metrics.sets_along(ORDERS) * (1 << torch.arange(TILES))).sum(dim=-1)
    shapley = metrics.shapley_values(ORDERS.expand(len(places), -1, -1), drops[:, along])
    kept = leads[:, [2**TILES - 1 - (1 << tile) for tile in range(TILES)]] - leads[:, -1:]
    right = asked.store.target[places][:, None]
    there = pointed[places][:, None]
    rival = torch.where(there == right, strongest_other(alone, right), there)
    print(f"    {how}, {len(places)} mosaics, lead {float(leads[:, 0].mean()):+.3f}:")
    for words, values in {"removed alone": alone, "Shapley": shapley, "left alone": kept}.items():
        ours, theirs = (values.gather(1, tile).flatten() for tile in (right, rival))
        found = paired_difference(ours.numpy(), theirs.numpy())
        first = float((values.argmax(dim=1, keepdim=True) == right).double().mean())
        more = float((ours > theirs).double().mean())
        print(
            f"      {words}: right tile {float(ours.mean()):+.3f}, other tile {float(theirs.mean()):+.3f}, difference "
            f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]; the right tile has more in {100 * more:.0f} %, "
            f"the most of four in {100 * first:.0f} %"
        )


def strongest_other(values: Float[Tensor, "mosaic tile"], right: Tensor) -> Tensor:
    """Return the tile, other than the right one, whose removal costs the most."""
    return values.scatter(1, right, -torch.inf).argmax(dim=1, keepdim=True)


def leads_without(asked: OneHead, encoder: Encoder, place: int, how: str, batch_size: int) -> Float[Tensor, "subset"]:
    """Return the lead of one mosaic's reference over the other three without each set of tiles."""
    part = slice(place, place + 1)
    question = asked.question(CONTRAST, part, asked.store.target[part])
    image = asked.store.images(encoder, part)
    beside = (place + int(np.random.default_rng(place).integers(1, len(asked.store.target)))) % len(asked.store.target)
    other = asked.store.images(encoder, slice(beside, beside + 1))
    replaced, leads = metrics.replacement(image, other, how), []
    for some in SUBSETS.split(batch_size):
        shape = (len(some), *image.shape[1:])
        changed = metrics.without_regions(image.expand(shape), some, replaced.expand(shape))
        embeddings = asked._embed(encoder(changed).pooled.cpu())[:, None]
        scores = [asked.by.rule.class_scores(one, question.supports, asked.by.similarity) for one in embeddings]
        leads.append(combined(question.explained.class_weights, torch.cat(scores)))
    return torch.cat(leads)


if __name__ == "__main__":
    main()
