"""Reference mosaics with every readout of a transformer and every method: how often the maximum is in the right tile.

    python benchmarks/token_mosaics/measure.py [--config configs/live/mosaics-cub10.toml] [--count 450]
    python benchmarks/token_mosaics/measure.py --readout mean class --method exact lafam --head center

Prints one table: a row for each method, as it explains the similarity to one reference and as it explains the lead over
the other three classes, and a column for each readout; percent ± one standard error, chance 25. The last rows are the
ceilings: the model itself, shown each tile alone. – stands where a method does not apply to a readout, and a note says
why. The encoder is a toy, trained by ``train.py`` beside this file unless ``--encoder`` names another function that
takes ``readout``; its weights are read from ``results/photo-vit.safetensors`` unless ``--checkpoint`` names a file.
"""

import argparse
import statistics
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain import Encoder
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import MosaicsConfig, read_config
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.mosaics.explained_mosaics import OneHead, fitted_head
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore, embed_mosaics
from fsl_explain.evaluation.table import Table
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import METHODS, find_method
from fsl_explain.report.table_formats import as_markdown

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "configs" / "live" / "mosaics-cub10.toml"
TOY = f"{HERE / 'photo_vit.py'}:encoder"
READOUTS = ("mean", "class", "class-direct", "class-last", "class+mean")
CEILINGS = {"one_reference": "ceiling: tile alone, one reference", "contrast": "ceiling: tile alone, lead"}
NOTHING = "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--count", type=int, default=450)
    parser.add_argument("--readout", nargs="+", default=READOUTS)
    parser.add_argument("--method", nargs="+", default=[name for name in METHODS if takes_part(METHODS[name])])
    parser.add_argument("--head", default="none")
    parser.add_argument("--encoder", default=TOY)
    parser.add_argument("--checkpoint", type=Path, default=Path("results/photo-vit.safetensors"))
    options = parser.parse_args()
    settings = read_config(options.config, MosaicsConfig)
    dataset = settings.data.open()
    sizes = replace(sizes_of(settings.mosaics), count=options.count)
    rows: dict[str, dict[str, str]] = {}
    notes: dict[str, None] = {}
    for readout in options.readout:
        encoder = Encoder.named(options.encoder, readout=readout, checkpoint=options.checkpoint)
        store = embed_mosaics(encoder, dataset, sizes, batch_size=settings.run.batch_size)
        for row, entry in column(under_head(options.head, store, encoder), options.method, notes):
            rows.setdefault(row, {})[readout] = entry
            print(f"{readout}, {row}: {entry}", flush=True)
    lines = [(row, *(found.get(readout, NOTHING) for readout in options.readout)) for row, found in rows.items()]
    toy = "Toy, trained here: " if options.encoder == TOY else ""
    title = f"{toy}{options.count} mosaics of {dataset.name}, maximum in the right tile, %"
    said = (
        "One training seed of one small network: no claim about other transformers. Chance 25." if toy else "Chance 25."
    )
    print(as_markdown([Table(title, ("map", *options.readout), lines, (said, *notes))]))


def under_head(name: str, store: MosaicStore, encoder: Encoder) -> OneHead:
    """Put a head, fitted on the crops that appear in no mosaic, on the store's features; cosine decides."""
    head = fitted_head(name, store).to(store.maps.dtype)
    by = DecidedBy.of("mean-similarity", "cosine")
    return OneHead(store, head, deepcopy(head).double(), encoder.pooling, by, encoder)


def takes_part(method: Method) -> bool:
    """Whether mosaics can ask a method: they alter no images, and ask for a score or a lead."""
    return method.needs_no_option and (method.needs_tokens or not method.perturbs) and method is not METHODS["contrast"]


def column(asked: OneHead, names: list[str], notes: dict[str, None]) -> Iterator[tuple[str, str]]:
    """Yield a row's name and its entry for each method, of one reference and of the lead, then the ceilings."""
    for name in names:
        score = find_method(name)
        lead = replace(score, explains="contrast")
        for row, method in {name: score, f"{name}, lead": lead}.items() if score.uses_supports else [(name, score)]:
            try:
                figures = asked.measure(method)
            except Mistake as error:
                notes[f"{name}: {error}"] = None
                continue
            if method.signed:
                notes[f"{row} adds up: largest residual {figures['residual'].max():.0e} of the absolute terms"] = None
            yield row, percent(figures["hit"])
    for key, row in CEILINGS.items():
        yield row, percent(asked.ceilings()[key])


def percent(values: Tensor) -> str:
    """Return the mean and its standard error, in percent."""
    counted = values[~torch.isnan(values)].tolist()
    if len(counted) < 2:
        return NOTHING
    return f"{100 * statistics.mean(counted):.1f} ± {100 * statistics.stdev(counted) / len(counted) ** 0.5:.1f}"


if __name__ == "__main__":
    main()
