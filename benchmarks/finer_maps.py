"""Finer maps on mosaics: does the contrast still point at the right tile, and what do detail, biases and rule change?

    OMP_NUM_THREADS=1 python benchmarks/finer_maps.py configs/live/mosaics-tiny-imagenet-boxes.toml --count 500
    OMP_NUM_THREADS=1 python benchmarks/finer_maps.py configs/live/mosaics-cub10.toml --count 500 --side 448

Prints one table: right tile by the largest pixel and by the largest sum, and the part of the map's positive mass that
lies in it, in percent with half of a 95 % interval; what part of Σ|terms| the cells hold; and the largest residual of a
receipt. The first row is the network's own last maps; the reference-free map carries the mean activation back with no
reference at all; the ceiling is the model itself, shown each tile alone. Chance is 25.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fsl_explain import Encoder
from fsl_explain.batches import slices
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import MosaicsConfig, read_config
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.mosaics.explained_mosaics import OneHead, fitted_head
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore, embed_mosaics
from fsl_explain.evaluation.table import Table
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.report.table_formats import as_markdown

VARIANTS = tuple(
    (detail, biases, pullback) for detail in (1, 2, 3) for pullback in ("abs", "gamma") for biases in ("drawn", "apart")
)
TOGETHER = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--head", default="class-pca")
    parser.add_argument("--side", type=int, default=None, help="of a mosaic in pixels; twice the encoder's: full tiles")
    parser.add_argument("--only", nargs="+", default=None, metavar="1/drawn/abs", help="rows beside the first")
    options = parser.parse_args()
    settings = read_config(options.config, MosaicsConfig)
    dataset = settings.data.open()
    encoder = Encoder.from_config(settings.encoder)
    sizes = replace(sizes_of(settings.mosaics), count=options.count, side=options.side)
    store = embed_mosaics(encoder, dataset, sizes, batch_size=settings.run.batch_size)
    rows = []
    for name, variant in variants(encoder, options.only):
        head = under_head(options.head, store, variant)
        found = measured(head, "lafam" if name.startswith("reference-free") else "contrast")
        rows.append((name, *(entry(*one) for one in found)))
        print(rows[-1], flush=True)
    ceiling = under_head(options.head, store, encoder).ceilings()["contrast"]
    rows.append(("ceiling: tile alone", percent(ceiling), percent(ceiling), "", "", ""))
    columns = ("map", "tile, largest pixel", "tile, largest sum", "mass in tile", "held by cells", "largest residual")
    print(as_markdown([Table(f"{options.count} mosaics of {dataset.name}, head {options.head}", columns, rows, ())]))


def variants(encoder: Encoder, only: list[str] | None) -> Iterator[tuple[str, Encoder]]:
    """Yield the encoder with each kind of finer maps."""
    yield "last maps", encoder
    yield "reference-free, detail 1", encoder.with_detail(1)
    for detail, biases, pullback in VARIANTS:
        name = f"{detail}/{biases}/{pullback}"
        if only is None or name in only:
            yield name, encoder.with_detail(detail, biases, pullback)


def under_head(name: str, store: MosaicStore, encoder: Encoder) -> OneHead:
    """Put a head, fitted on the crops that appear in no mosaic, on the store's features; cosine decides."""
    head = fitted_head(name, store).to(store.maps.dtype)
    by = DecidedBy.of("mean-similarity", "cosine")
    return OneHead(store, head, fitted_head(name, store).double(), encoder.pooling, by, encoder)


def measured(head: OneHead, method: str) -> list[tuple[str, Tensor]]:
    """Return the figures of all mosaics, each with what it is."""
    explainer, store = METHODS[method], head.store
    height, width = store.masks.shape[-2:]
    found: dict[str, list[Tensor]] = {"pixel": [], "sum": [], "mass": [], "held": [], "residual": []}
    for part in slices(len(store.target), TOGETHER):
        target = store.target[part]
        question = head.question(explainer, part, target)
        answer = explainer.attribute(question)
        saliency = explainer.saliency(answer.cells, (height, width)).double()
        inside = store.masks.double()
        sums = torch.einsum("bhw,thw->bt", saliency, inside)
        largest = (saliency[:, None] * inside + (inside - 1) * 1e9).flatten(2).amax(dim=2)
        positive = torch.einsum("bhw,thw->bt", saliency.clamp(min=0), inside)
        found["pixel"].append((largest.argmax(dim=1) == target).double())
        found["sum"].append((sums.argmax(dim=1) == target).double())
        own = positive.gather(1, target[:, None])[:, 0]
        whole = positive.sum(dim=1)
        found["mass"].append(torch.where(whole > 0, own / whole, 0))  # a map without a positive cell points nowhere
        cells, bias = answer.cells.double(), answer.bias.double()
        terms = cells.abs().sum(dim=(-2, -1))
        found["held"].append(terms / (terms + bias.abs()))
        missed = question.explained.value - cells.sum(dim=(-2, -1)) - bias
        found["residual"].append(missed.abs() / (terms + bias.abs()))
    return [(name, torch.cat(values)) for name, values in found.items()]


def entry(name: str, values: Tensor) -> str:
    """Return one entry of the table."""
    if name == "residual":
        return f"{float(values.max()):.1e}" if not bool(values.isnan().any()) else "–"
    return percent(values) if not bool(values.isnan().any()) else "–"


def percent(values: Tensor) -> str:
    """Return a mean in percent with half of its 95 % interval."""
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    return f"{100 * float(values.mean()):.1f} ± {100 * half:.1f}"


if __name__ == "__main__":
    main()
