"""Sharper and truer maps: detail, biases, rules and scales, judged by mosaics or by masks and boxes, in one table.

    OMP_NUM_THREADS=1 python benchmarks/finer_maps.py configs/live/compare-pets.toml --count 500
    OMP_NUM_THREADS=1 python benchmarks/finer_maps.py configs/live/mosaics-cub10.toml --count 500

Each entry is a mean with half of a 95 % interval, in percent, and behind it the mean paired difference from the first
row's, with its bootstrap interval; bold: that excludes zero. Rows are the contrast, on the last maps and drawn finer;
maps without any reference, the mean activation map and what is carried back of it; maps that see nothing; and for
mosaics the ceiling, the model itself shown each tile alone. All maps are judged at 224×224 pixels on the same units.

Readings: ``224`` and ``448`` are images of one side, in which a tile of a mosaic has 112 or 224 pixels; ``224+448`` is
the mean decision over both sides of images prepared at 448, references too. In the last one, of mosaics, it is the same
with ``support_scales=(224,)``: references and tiles alone are seen at 224, so that they differ less in size from the
tiles. Photographs are decided by prototypes as their configuration says, under a head that is fitted on the other half
of them. ``held`` is what part of Σ|terms| the cells hold, and ``residual`` the largest that a receipt misses of it.
With ``--deepest 0`` one scale is not drawn finer, which takes a tenth of the time.

For photographs a second table has LaFAM's six figures of the maps without a reference, against LaFAM's own.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from all_details import at_all_details, caught
from judged_sets import SIDE, Batch, Mosaics, Photographs
from torch import Tensor

from fsl_explain import Encoder
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import ComparisonConfig, MosaicsConfig, read_config
from fsl_explain.evaluation.figures import LAYOUTS
from fsl_explain.evaluation.table import Table
from fsl_explain.evaluation.tables.paired_bootstrap import paired_difference
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.metrics import mean_interval
from fsl_explain.report.table_formats import as_markdown

HEADINGS = {
    "hit": "tile, largest pixel",
    "hit_by_sum": "tile, largest sum",
    "mass": "mass in tile",
    "relevance_rank_accuracy": "rank",
    "auc": "AUC",
    "relevance_mass_accuracy": "mass",
    "pointing_game": "pointing",
    "top_k_intersection": "top-k",
    "sparseness": "sparseness",
}
OF_MOSAICS = ("hit", "hit_by_sum", "mass")
OF_PHOTOGRAPHS = ("relevance_rank_accuracy", "auc", "relevance_mass_accuracy", "pointing_game")
DEEPEST = {"224": {"abs": 3, "gamma": 3}, "448": {"abs": 2}}
"""Details that are drawn, by reading and rule; the gamma rule costs three times as much."""
SCALES, SUPPORTS_AT_224 = ("224", "224+448"), "224+448, references at 224"
OF_TILES = ("224", "448", "224+448", SUPPORTS_AT_224)
LAFAM, CONTRAST = METHODS["lafam"], METHODS["contrast"]
FREE = "no reference"
LAFAM_OF_THE_PAPER = f"{FREE}, last maps, as in LaFAM's tables"
BESIDE = {"Grad-CAM": METHODS["grad-cam"], LAFAM_OF_THE_PAPER: LAFAM.in_tables}
TRIVIAL = {name: METHODS[name] for name in ("all-ones", "centered-gaussian")}


@dataclass(frozen=True)
class Map:
    """One map of a batch of units, and what its receipt says; NaN where it has none."""

    name: str
    saliency: Tensor
    held: Tensor | None = None
    residual: Tensor | None = None


def main() -> None:
    """Measure, print the tables, and keep every figure of every unit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--fit", type=int, default=400, help="images of each half that heads are fitted on, at most")
    parser.add_argument("--head", default="class-pca")
    parser.add_argument("--readings", nargs="+", choices=OF_TILES, help=f"{' and '.join(SCALES)} for photographs")
    parser.add_argument("--deepest", type=int, default=3, help="the finest detail that is drawn at one scale")
    parser.add_argument("--out", type=Path, help="a JSON file of every figure of every unit")
    options = parser.parse_args()
    judged, encoder = opened(options)
    found: dict[str, dict[str, np.ndarray]] = {}
    for reading in options.readings or (OF_TILES if isinstance(judged, Mosaics) else SCALES):
        found |= measured(judged, encoder, reading, options.deepest)
        if options.out is not None:
            kept = {name: {one: values.tolist() for one, values in row.items()} for name, row in found.items()}
            options.out.write_text(json.dumps(kept))
    print(as_markdown(list(tables(judged, found))))


def opened(options: argparse.Namespace) -> tuple[Mosaics | Photographs, Encoder]:
    """Open what is judged, and the encoder."""
    if "[mosaics]" in options.config.read_text() and "[maps]" not in options.config.read_text():
        settings = read_config(options.config, MosaicsConfig)
        sizes = replace(sizes_of(settings.mosaics), count=options.count)
        size = settings.run.batch_size
        return Mosaics(settings.data.open(), sizes, size, options.head), Encoder.from_config(settings.encoder)
    compared = read_config(options.config, ComparisonConfig)
    encoder, dataset = Encoder.from_config(compared.encoder), compared.data.open()
    return Photographs(dataset, compared, options.count, options.fit, options.head, encoder), encoder


def measured(
    judged: Mosaics | Photographs, encoder: Encoder, reading: str, deepest: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return each row of a reading with its figures, one value a unit."""
    side, seen = (448 if "448" in reading else 224), encoder
    if "+" in reading:
        seen = encoder.at_scales((224, 448), support_scales=(224,) if reading == SUPPORTS_AT_224 else None)
    details = {rule: min(detail, deepest) for rule, detail in DEEPEST.get(reading, {}).items() if deepest}
    draws = {rule: seen.with_detail(detail, "drawn", rule) for rule, detail in details.items()}
    both = seen.with_detail(1)
    rows: dict[str, dict[str, list[Tensor]]] = {}
    begin, done = time.time(), 0
    for batch in judged.batches(seen, side):
        maps = several_scales(batch, both) if "+" in reading else one_scale(batch, draws)
        for one in (*maps, *(trivial(batch) if reading == "224" else ())):
            row = rows.setdefault(f"{reading}: {one.name}" if one.name not in TRIVIAL else one.name, {})
            figures = {**batch.figures(one.saliency), "held": one.held, "residual": one.residual}
            for name, values in figures.items():
                row.setdefault(name, []).append(
                    torch.full((len(batch.images),), torch.nan) if values is None else values
                )
        done += len(batch.images)
        print(f"{reading}: {done} in {time.time() - begin:.0f} s", file=sys.stderr, flush=True)
    found = {
        name: {one: torch.cat(values).double().numpy() for one, values in row.items()} for name, row in rows.items()
    }
    ceiling = {name: values.double().numpy() for name, values in judged.ceiling(seen, side).items()}
    return found | ({f"{reading}: the model, tile alone": ceiling} if ceiling else {})


def one_scale(batch: Batch, draws: Mapping[str, Encoder]) -> Iterator[Map]:
    """Draw a batch at one scale in all ways."""
    question = batch.about(CONTRAST)
    answer, relevance = caught(CONTRAST, question)
    value, bias = question.explained.value, answer.bias
    yield received("last maps", answer.cells, bias, value)
    mean = question.query.maps / question.query.maps.shape[-3]
    yield Map(f"{FREE}, last maps", LAFAM.saliency(mean.sum(dim=-3), (SIDE, SIDE)))
    for name, method in BESIDE.items():
        yield Map(name, method.saliency(method.attribute(batch.about(method)).cells, (SIDE, SIDE)))
    for rule, encoder in draws.items():
        asked = torch.stack([relevance, mean] if rule == "abs" else [relevance])
        for detail, (arrived, left) in at_all_details(encoder(batch.images).finer, asked).items():
            name = f"detail {detail}, {rule}"
            yield received(f"{name}, drawn", arrived[0] + left[0], bias, value)
            yield received(f"{name}, apart", arrived[0], bias + left[0].sum(dim=(-2, -1)).double(), value)
            if rule == "abs":
                cells = arrived[1] + left[1]
                yield Map(f"{FREE}, detail {detail}", LAFAM.saliency(cells, (SIDE, SIDE)))
                yield Map(f"{FREE}, detail {detail}, blocks", LAFAM.in_tables.saliency(cells, (SIDE, SIDE)))


def several_scales(batch: Batch, finer: Encoder) -> Iterator[Map]:
    """Draw a batch at several scales on the last maps and at detail 1."""
    question = batch.about(CONTRAST)
    drawn = replace(question, query=replace(question.query, finer=finer(batch.images).finer))
    for name, one in {"last maps": question, "detail 1, abs, drawn": drawn}.items():
        answer = CONTRAST.attribute(one)
        yield received(name, answer.cells, answer.bias, one.explained.value)
        free = LAFAM.attribute(one).cells
        yield Map(f"{FREE}, {name.split(',')[0]}", LAFAM.saliency(free, (SIDE, SIDE)))
    grad_cam = METHODS["grad-cam"]
    yield Map("Grad-CAM", grad_cam.saliency(grad_cam.attribute(batch.about(grad_cam)).cells, (SIDE, SIDE)))


def trivial(batch: Batch) -> Iterator[Map]:
    """Draw maps that see nothing."""
    for name, method in TRIVIAL.items():
        yield Map(name, method.saliency(method.attribute(batch.about(method)).cells, (SIDE, SIDE)))


def received(name: str, cells: Tensor, bias: Tensor, value: Tensor) -> Map:
    """Return a map of the contrast with what its cells hold and what its receipt misses."""
    held = cells.double().abs().sum(dim=(-2, -1))
    terms = held + bias.abs()
    missed = (value - cells.double().sum(dim=(-2, -1)) - bias).abs() / terms
    return Map(name, CONTRAST.saliency(cells, (SIDE, SIDE)), held / terms, missed)


def tables(judged: Mosaics | Photographs, found: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Table]:
    """Lay out all rows against the first one, and the maps without a reference against LaFAM's own."""
    is_mosaics, first = isinstance(judged, Mosaics), next(iter(found))
    names = OF_MOSAICS if is_mosaics else OF_PHOTOGRAPHS
    shown = {name: row for name, row in found.items() if not (name.endswith("blocks") or "tables" in name)}
    yield laid_out(judged, shown, names, first, receipts=True)
    own = f"224: {LAFAM_OF_THE_PAPER}"
    if not is_mosaics and own in found:
        free = {name: row for name, row in found.items() if FREE in name or "Grad-CAM" in name or name in TRIVIAL}
        yield laid_out(judged, free, LAYOUTS["lafam"], own, receipts=False)


def laid_out(
    judged: Mosaics | Photographs,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    names: tuple[str, ...],
    against: str,
    *,
    receipts: bool,
) -> Table:
    """Lay out one row for each map; bold: its difference from one of them excludes zero."""
    made, bold = [], set()
    for name, row in rows.items():
        entries = [entry(row.get(one), None if name == against else rows[against][one]) for one in names]
        bold |= {(len(made), 1 + place) for place, (_, is_apart) in enumerate(entries) if is_apart}
        receipt = [mean(row.get("held")), largest(row.get("residual"))] if receipts else []
        made.append((name, *(text for text, _ in entries), *receipt))
    columns = ("map", *(HEADINGS[one] for one in names), *(("held", "residual") if receipts else ()))
    count = len(rows[against][names[0]])
    title = f"{count} {judged.unit} of {judged.dataset.name}, head {judged.head}; difference from {against}"
    return Table(title, columns, made, (), frozenset(bold))


def entry(values: np.ndarray | None, reference: np.ndarray | None) -> tuple[str, bool]:
    """Return a mean with its paired difference, and whether that excludes zero."""
    if values is None or reference is None:
        return mean(values), False
    found = paired_difference(values, reference)
    low, high = 100 * found.low, 100 * found.high
    return f"{mean(values)} ({100 * found.mean:+.1f} [{low:+.1f}, {high:+.1f}])", found.excludes_zero


def mean(values: np.ndarray | None) -> str:
    """Return a mean in percent with half of its interval, – where there is none."""
    if values is None or bool(np.isnan(values).all()):
        return "–"
    average, half_width, _ = mean_interval(torch.from_numpy(values))
    return f"{100 * average:.1f} ± {100 * half_width:.1f}"


def largest(values: np.ndarray | None) -> str:
    """Return the largest residual, – where there is none."""
    return "–" if values is None or bool(np.isnan(values).all()) else f"{np.nanmax(values):.0e}"


if __name__ == "__main__":
    main()
