"""Reference mosaics with every readout of a transformer and every method: how often the maximum is in the right tile.

    python benchmarks/token_mosaics/measure.py [--config configs/live/mosaics-tiny-imagenet-boxes.toml] [--count 300]
    python benchmarks/token_mosaics/measure.py --readout mean class --method exact lafam --head center

Prints one table: a row for each method, as it explains the similarity to one reference and as it explains the lead over
the other three classes, and a column for each readout; percent ± one standard error, chance 25. The last rows are the
ceilings: the model itself, shown each tile alone. – stands where a method does not apply to a readout, and a note says
why; methods that read attention answer for ``class-direct`` and ``class-last`` as for ``class``, whose embedding is the
same. The encoder is a toy, trained by ``train.py`` beside this file unless ``--encoder`` names another function that
takes ``readout``; its weights are read from ``results/photo-vit.safetensors`` unless ``--checkpoint`` names a file. The
head of the readout, such as a last normalization, stands before a ``--head`` that is fitted on other crops.
"""

import argparse
import statistics
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain import Encoder
from fsl_explain.batches import slices
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import MosaicsConfig, read_config
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.evaluation.mosaics.explained_mosaics import MOSAICS_IN_A_BATCH, OneHead, fitted_head
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes
from fsl_explain.evaluation.mosaics.mosaic_store import (
    draw_mosaics,
    embed_mosaics,
    mosaic_pixels,
    mosaic_side,
    picture_of,
)
from fsl_explain.evaluation.table import Table
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import METHODS, find_method
from fsl_explain.explainers.question import Pixels
from fsl_explain.report.table_formats import as_markdown

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "configs" / "live" / "mosaics-tiny-imagenet-boxes.toml"
TOY = f"{HERE / 'photo_vit.py'}:encoder"
READOUTS = ("class", "mean", "class-direct", "class-last", "class+mean")
SAME_EMBEDDING = ("class-direct", "class-last")  # as class
CEILINGS = {"one_reference": "ceiling: tile alone, one reference", "contrast": "ceiling: tile alone, lead"}
NOTHING = "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--count", type=int, default=300)
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
        asked = Asked.of(encoder, dataset, sizes, options.head, settings.run.batch_size)
        names = [one for one in options.method if readout not in SAME_EMBEDDING or not METHODS[one].needs_tokens]
        for row, entry in column(asked, names, readout, notes):
            rows.setdefault(row, {})[readout] = entry
            print(f"{readout}, {row}: {entry}", flush=True)
    lines = [(row, *(found.get(readout, NOTHING) for readout in options.readout)) for row, found in rows.items()]
    toy = "Toy, trained here: " if options.encoder == TOY else ""
    title = f"{toy}{options.count} mosaics of {dataset.name}, maximum in the right tile, %"
    said = "Chance 25." + (" One training seed of one small network: no claim about other transformers." if toy else "")
    print(as_markdown([Table(title, ("map", *options.readout), lines, (said, *notes))]))


def takes_part(method: Method) -> bool:
    """Whether mosaics ask a method: one that explains a score, and alters no image."""
    return method.explains == "score" and (method.needs_tokens or not method.perturbs)


@dataclass(frozen=True)
class Asked:
    """Mosaics under one readout and head, with the pixels that methods for tokens ask the network about again."""

    one: OneHead
    encoder: Encoder
    pixels: Tensor

    @classmethod
    def of(cls, encoder: Encoder, dataset: LabeledImages, sizes: MosaicSizes, head: str, batch_size: int) -> "Asked":
        """Embed the mosaics, and fit the head on crops that appear in none; cosine decides."""
        store, side = embed_mosaics(encoder, dataset, sizes, batch_size=batch_size), mosaic_side(encoder, sizes.side)
        pictures = [picture_of(one, dataset, sizes.crop, side) for one in draw_mosaics(dataset, sizes)[1]]
        whole = fitted_head(head, store)
        by = DecidedBy.of("mean-similarity", "cosine")
        under = OneHead(store, deepcopy(whole).to(store.maps.dtype), whole, encoder.pooling, by)
        return cls(under, encoder, mosaic_pixels(encoder, pictures, side))

    def measure(self, method: Method) -> tuple[Tensor, float]:
        """Return, of each mosaic, how much of the map's maximum is in the right tile; and the largest residual."""
        store = self.one.store
        found, residuals = [], []
        for part in slices(len(store.target), MOSAICS_IN_A_BATCH):
            target = store.target[part]
            question = self.one._question(method, part, target)
            attribution = method.attribute(replace(question, pixels=Pixels(self.encoder, self.pixels[part])))
            saliency = method.saliency(attribution.cells, (store.masks.shape[-2], store.masks.shape[-1]))
            found.append(FIGURES["hit"].of({"saliency": saliency.detach(), "mask": store.masks[target]}).double())
            terms = attribution.cells.double().abs().sum(dim=(-2, -1)) + attribution.bias.abs()
            sums = attribution.cells.double().sum(dim=(-2, -1)) + attribution.bias
            residuals.append(float(((question.explained.value - sums).abs() / terms).max()))
        return torch.cat(found), max(residuals)


def column(asked: Asked, names: list[str], readout: str, notes: dict[str, None]) -> Iterator[tuple[str, str]]:
    """Yield a row's name and its entry for each method, of one reference and of the lead, then the ceilings."""
    for name in names:
        score = find_method(name)
        lead = replace(score, explains="contrast")
        for row, method in {name: score, f"{name}, lead": lead}.items() if score.uses_supports else [(name, score)]:
            try:
                hits, residual = asked.measure(method)
            except Mistake as error:
                notes[f"{readout}, {name}: {error}"] = None
                continue
            if method.signed:
                notes[f"{readout}, {row}: adds up, largest residual {residual:.0e} of the absolute terms"] = None
            yield row, percent(hits)
    for key, row in CEILINGS.items():
        yield row, percent(asked.one.ceilings()[key])


def percent(values: Tensor) -> str:
    """Return the mean and its standard error, in percent."""
    counted = values[~torch.isnan(values)].tolist()
    if len(counted) < 2:
        return NOTHING
    return f"{100 * statistics.mean(counted):.1f} ± {100 * statistics.stdev(counted) / len(counted) ** 0.5:.1f}"


if __name__ == "__main__":
    main()
