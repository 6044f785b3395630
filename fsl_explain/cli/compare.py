"""``fsl-explain compare``."""

import functools
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.cli.cases import STAGE, make_case
from fsl_explain.cli.fitting_methods import fitting, methods_of
from fsl_explain.cli.from_settings import comparison_of, mosaics_of
from fsl_explain.cli.map_rows import SHOWN, examples_of, prepared_image, row_of_decision, rows_without_decisions
from fsl_explain.cli.measuring import Opened, maps_folder, opened
from fsl_explain.cli.progress import with_bar
from fsl_explain.config import ComparisonConfig
from fsl_explain.config.comparison import MapsConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import Table
from fsl_explain.evaluation.chosen_methods import expect_fitting
from fsl_explain.evaluation.comparison.compared_images import MapComparison, compared_methods, draw_supports
from fsl_explain.evaluation.comparison.comparison_tables import (
    comparison_columns,
    comparison_tables,
    removal_tables,
    summarize_comparison,
)
from fsl_explain.evaluation.mosaics.mosaic_table import mosaic_tables, summarize_mosaics
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare as compare_images
from fsl_explain.explainers.support_groups import embedded
from fsl_explain.progress import Report
from fsl_explain.report import Case, MapRow, Page


def run(
    settings: ComparisonConfig, out: Path | None, resume: bool, skip_broken: bool, save_maps: bool, title: str
) -> None:
    """Compare the explainers, print the tables and write the results."""
    compared_methods(settings.maps.methods)
    shared = functools.partial(_support_embeddings, settings.maps) if settings.maps.shots else None
    methods = (*settings.maps.methods, *(() if settings.mosaics is None else settings.mosaics.methods))
    made = opened(settings, methods, center=settings.center, supports=shared, skip_broken=skip_broken)
    rule = settings.maps.rule
    expect_fitting(compared_methods(methods_of(settings.maps, made.encoder, rule)), made.encoder, rule)
    maps = maps_folder(out, save_maps)
    with made.measuring(out, resume) as (partial, report):
        first = _mosaics(settings, made, report)
        measured = comparison_of(settings, made.encoder, made.dataset, partial, report, maps)
    removals = removal_tables(measured, title, settings.encoder.name)
    tables = made.show((*removals, *first, *comparison_tables(measured, title, settings.encoder.name)))
    if out is None:
        return
    rows, cases = _examples(settings, made, measured)
    page = Page(
        title=f"Explainers compared: {title}",
        lead=f"{len(measured.queries)} images of {made.dataset.name} with {made.encoder.description}.",
        facts=_facts(settings, made.dataset, measured),
        tables=tables,
        cases=cases,
        rows=rows,
    )
    columns = comparison_columns(measured, made.dataset.classes, made.dataset.paths)
    summary = summarize_comparison(measured) | {"provenance": made.recorded}
    made.write(out, summary, {"queries": columns}, page, maps)


def _support_embeddings(maps: MapsConfig, encoder: Encoder, dataset: LabeledImages) -> Float[Tensor, "support channel"]:
    rows = draw_supports(dataset, maps.shots, maps.seed).flatten().tolist()
    return embedded(encoder.of_supports, encoder.preprocess([dataset[index].image for index in rows])).embedding


def _mosaics(settings: ComparisonConfig, made: Opened, report: Report) -> tuple[Table, ...]:
    """Return the table of how often a map finds the right tile of a mosaic, where mosaics are asked for."""
    if settings.mosaics is None:
        return ()
    _, figures = mosaics_of(settings.mosaics, settings.run, made.encoder, made.dataset, report)
    return mosaic_tables(summarize_mosaics(figures), "mosaics")[:1]


def _facts(settings: ComparisonConfig, dataset: LabeledImages, measured: MapComparison) -> dict[str, str]:
    maps, correct = settings.maps, (measured.truth == measured.predicted).double().mean()
    if not maps.shots:
        return {"Decision": "none", "RELAX": f"{maps.relax_masks} masks an image", "Seed": str(maps.seed)}
    return {
        "Decision": f"{maps.rule} of {maps.shots} supports in {len(dataset.classes)} classes, {maps.similarity}",
        "Accuracy": f"{100 * float(correct):.1f} %; maps of all decisions are judged",
        "RELAX": f"{maps.relax_masks} masks an image",
        "Curves": f"{maps.steps} steps, removed pixels become {maps.removed}",
        "Removals": f"{maps.removal_draws} sets of {maps.removal_grid}×{maps.removal_grid} regions, {maps.removal}",
        "Seed": str(maps.seed),
    }


def _examples(
    settings: ComparisonConfig, made: Opened, measured: MapComparison
) -> tuple[tuple[MapRow, ...], tuple[Case, ...]]:
    """Explain the first sampled images: as rows of maps side by side, and where there are decisions one by one."""
    maps, encoder, dataset = settings.maps, made.encoder, made.dataset
    if not maps.shots:
        return rows_without_decisions(settings, encoder, dataset, measured), ()
    drawn = draw_supports(dataset, maps.shots, maps.seed)
    pixels = encoder.preprocess([dataset[index].image for index in drawn.flatten().tolist()])
    supports = dict(zip(dataset.classes, pixels.unflatten(0, (len(drawn), -1)), strict=True))
    choice = Choice(maps.rule, maps.similarity)
    shown, asked = fitting(SHOWN, encoder, maps.rule), methods_of(maps, encoder, maps.rule)

    def example(number: int, index: int) -> tuple[MapRow, Case]:
        image, truth = prepared_image(encoder, dataset, index), dataset.classes[int(dataset.labels[index])]
        compared = compare_images(encoder, image.pixels, supports, maps.similarity)
        case = make_case(f"Example {number}: {truth}", compared, shown, choice, truth=truth)
        return row_of_decision(truth, compared, shown, asked, choice, image), case

    made_of_each = with_bar(STAGE, example, list(enumerate(examples_of(measured), start=1)))
    return tuple(row for row, _ in made_of_each), tuple(case for _, case in made_of_each)
