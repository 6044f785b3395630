"""``fsl-explain compare``."""

from pathlib import Path

import torch

from episodes import LabeledImages
from fsl_explain.cli.cases import make_case
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.config import ComparisonConfig, MosaicsConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import Table
from fsl_explain.evaluation.comparison.comparison_tables import (
    comparison_columns,
    comparison_tables,
    summarize_comparison,
)
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.with_supports import MapComparison, compare_maps, compared_methods, draw_supports
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.evaluation.mosaics.mosaic_table import mosaic_tables, summarize_mosaics
from fsl_explain.evaluation.results.written import partial_folder, provenance, remove_partial, write_tables
from fsl_explain.evaluation.seen_classes import check_evaluated
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare as compare_images
from fsl_explain.progress import Report
from fsl_explain.report import Case, Page, render_page

EXAMPLES = 4
SHOWN = ("contrast", "exact", "grad-cam", "fam", "lafam")


def run(settings: ComparisonConfig, out: Path | None, resume: bool, title: str) -> None:
    """Compare the explainers, print the tables and write the results."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    compared_methods(settings.maps)
    dataset = settings.data.open()
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    seen = check_evaluated(settings.encoder, settings.data, dataset)
    recorded = provenance(settings, encoder, dataset) | seen.recorded
    partial = None if out is None else partial_folder(out, recorded, resume)
    with progress_bars() as report:
        first = _mosaics(settings, encoder, dataset, report)
        measuring = compare_maps if settings.maps.shots else compare_label_free
        measured = measuring(encoder, dataset, settings, partial, report)
    found = (*first, *comparison_tables(measured, title, settings.encoder.name))
    tables = tuple(seen.beside(table) for table in found)
    for table in tables:
        show_table(table)
    if out is None:
        return
    page = Page(
        title=f"Explainers compared: {title}",
        lead=f"{len(measured.queries)} images of {dataset.name} with {encoder.description}.",
        facts=_facts(settings, dataset, measured),
        tables=tables,
        cases=_examples(settings, encoder, dataset, measured),
    )
    columns = comparison_columns(measured, dataset.classes, dataset.paths)
    summary = summarize_comparison(measured) | {"provenance": recorded}
    write_tables(out, summary, {"queries": columns}, {"index.html": render_page(page)})
    remove_partial(out)
    note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")


def _mosaics(settings: ComparisonConfig, encoder: Encoder, dataset: LabeledImages, report: Report) -> tuple[Table, ...]:
    """Return the table of how often a map finds the right tile of a mosaic, where mosaics are asked for."""
    if settings.mosaics is None:
        return ()
    mosaics = MosaicsConfig(data=settings.data, encoder=settings.encoder, mosaics=settings.mosaics, run=settings.run)
    store = embed_mosaics(encoder, dataset, mosaics, report)
    summary = summarize_mosaics(evaluate_mosaics(store, encoder.pooling, mosaics, report))
    return mosaic_tables(summary, "mosaics")[:1]


def _facts(settings: ComparisonConfig, dataset: LabeledImages, measured: MapComparison) -> dict[str, str]:
    maps, correct = settings.maps, (measured.truth == measured.predicted).double().mean()
    if not maps.shots:
        return {"Decision": "none", "RELAX": f"{maps.relax_masks} masks an image", "Seed": str(maps.seed)}
    return {
        "Decision": f"{maps.rule} of {maps.shots} supports in {len(dataset.classes)} classes, {maps.similarity}",
        "Accuracy": f"{100 * float(correct):.1f} %; maps of all decisions are judged",
        "RELAX": f"{maps.relax_masks} masks an image",
        "Curves": f"{maps.steps} steps, removed pixels become {maps.removed}",
        "Seed": str(maps.seed),
    }


def _examples(
    settings: ComparisonConfig, encoder: Encoder, dataset: LabeledImages, measured: MapComparison
) -> tuple[Case, ...]:
    """Explain the first sampled images."""
    maps, chosen = settings.maps, measured.queries[measured.sampled][:EXAMPLES].tolist()
    if not maps.shots:
        return ()
    rows = draw_supports(dataset, maps)
    pixels = encoder.preprocess([dataset[index].image for index in rows.flatten().tolist()])
    supports = dict(zip(dataset.classes, pixels.unflatten(0, (len(rows), -1)), strict=True))
    return tuple(
        make_case(
            f"Example {number}: {dataset.classes[int(dataset.labels[index])]}",
            compare_images(encoder, encoder.preprocess([dataset[index].image])[0], supports, maps.similarity),
            SHOWN,
            Choice(maps.rule, maps.similarity),
            truth=dataset.classes[int(dataset.labels[index])],
        )
        for number, index in enumerate(chosen, start=1)
    )
