"""``fsl-explain mosaics``."""

import json
from pathlib import Path
from typing import Any

import torch

from episodes import LabeledImages
from fsl_explain.cli.cases import make_case
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.config import MosaicsConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.mosaics.measured_mosaics import TILE_NAMES, evaluate_mosaics, fitted_head, measured_methods
from fsl_explain.evaluation.mosaics.mosaic_images import Mosaic, crop_area, cut, tile_boxes, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import (
    MosaicStore,
    draw_mosaics,
    embed_mosaics,
    mosaic_pixels,
    mosaic_side,
    picture_of,
    side_of,
)
from fsl_explain.evaluation.mosaics.mosaic_table import mosaic_tables, summarize_mosaics
from fsl_explain.evaluation.results.written import provenance, uninterrupted
from fsl_explain.evaluation.seen_classes import check_evaluated
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.report import Case, Page, write_page

EXAMPLES = 4


def run(settings: MosaicsConfig, out: Path | None, title: str) -> None:
    """Draw and measure mosaics, print the tables and write the results."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    measured_methods(settings)
    dataset = settings.data.open()
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    seen = check_evaluated(settings.encoder, settings.data, dataset)
    recorded = provenance(settings, encoder, dataset) | seen.recorded
    with progress_bars() as report:
        store = embed_mosaics(encoder, dataset, settings, report)
        figures = evaluate_mosaics(store, encoder.pooling, settings, report)
    summary = summarize_mosaics(figures) | {"provenance": recorded}
    tables = tuple(seen.beside(table) for table in mosaic_tables(summary, title))
    for table in tables:
        show_table(table)
    if out is None:
        return
    page = Page(
        title=f"Reference mosaics: {title}",
        lead=f"{summary['mosaics']} mosaics of {dataset.name} with {encoder.description}.",
        facts=_facts(settings, dataset),
        tables=tables,
        cases=_examples(settings, encoder, dataset, store),
    )
    _write(out, summary, page)
    note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")


def _facts(settings: MosaicsConfig, dataset: LabeledImages) -> dict[str, str]:
    sizes = settings.mosaics
    area = "the annotated box grown to a square" if sizes.crop == "box" else "the whole image"
    return {
        "Tiles": f"{area}, four different classes of {len(dataset.classes)}",
        "Reference": "another image of one of the four classes, never one of the tiles",
        "Similarity": sizes.similarity,
        "Heads": f"fitted on {100 * sizes.fit_share:g} % of each class's images, which appear in no mosaic",
        "Examples": f"head {sizes.heads[-1]}",
        "Seed": str(sizes.seed),
    }


def _examples(
    settings: MosaicsConfig, encoder: Encoder, dataset: LabeledImages, store: MosaicStore
) -> tuple[Case, ...]:
    """Explain the first mosaics under the last head, as pages show any query; the frame is the right tile."""
    head = fitted_head(settings.mosaics.heads[-1], store, settings).float()
    with_head = Encoder(
        encoder.network,
        layer=encoder.layer,
        pooling=encoder.pooling,
        head=head,
        preprocess=encoder.transform,
        description=encoder.description,
        inference=encoder.inference,
    )
    _, drawn = draw_mosaics(dataset, settings)
    return tuple(
        _example(settings, with_head, dataset, mosaic, number) for number, mosaic in enumerate(drawn[:EXAMPLES])
    )


def _example(settings: MosaicsConfig, encoder: Encoder, dataset: LabeledImages, mosaic: Mosaic, number: int) -> Case:
    sizes, side = settings.mosaics, side_of(encoder)
    names = [dataset.classes[label] for label in mosaic.classes.tolist()]
    references = [dataset[index] for index in mosaic.references.tolist()]
    crops = encoder.preprocess([cut(image.image, crop_area(image, sizes.crop), side) for image in references])
    large = mosaic_side(encoder, settings)
    pixels = mosaic_pixels(encoder, [picture_of(mosaic, dataset, sizes.crop, large)], large)[0]
    compared = compare(encoder, pixels, dict(zip(names, crops[:, None], strict=True)), sizes.similarity)
    height, width = pixels.shape[-2:]
    return make_case(
        f"Mosaic {number}: where is {names[mosaic.target]}?",
        compared,
        tuple(dict.fromkeys((*sorted(sizes.methods, key=lambda name: name != "contrast"), "lafam"))),
        Choice(similarity=sizes.similarity, target=names[mosaic.target], against="others"),
        box=tile_boxes(height, width)[mosaic.target],
        mask=tile_masks(height, width)[mosaic.target],
        query_name=f"{TILE_NAMES[mosaic.target]} tile",
        support_names={
            name: ["" if image.path is None else image.path.name] for name, image in zip(names, references, strict=True)
        },
    )


def _write(out: Path, summary: dict[str, Any], page: Page) -> None:
    out.mkdir(parents=True, exist_ok=True)
    aside = out / ".summary.json.partial"
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with uninterrupted():
        aside.write_text(text, encoding="utf-8")
        write_page(page, out / "index.html")
        aside.replace(out / "summary.json")
