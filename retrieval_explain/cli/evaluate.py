"""``retrieval-explain evaluate``."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from episodes import LabeledImages
from fsl_explain.cli.broken import without_broken
from fsl_explain.cli.fitting_methods import fitting, methods_of
from fsl_explain.cli.measuring import maps_folder, opened
from fsl_explain.config.data import DataConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.figures import OF_DECISIONS, Figure, find_figures
from fsl_explain.evaluation.masked_queries import NEEDS_OF_DECISIONS
from fsl_explain.evaluation.own_figures import chosen_figures
from fsl_explain.evaluation.results.read_back import LEFT_OUT
from fsl_explain.evaluation.results.written import images_used
from fsl_explain.progress import Report, silent
from fsl_explain.report import Page
from retrieval_explain.bank_address import as_place
from retrieval_explain.evaluation.bank_gallery import BankGallery
from retrieval_explain.evaluation.evaluation_tables import bank_query_columns, bank_tables, summarize_bank
from retrieval_explain.evaluation.retrieval_evaluation import BankEvaluation, evaluate_bank, measured_methods
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.settings import BankData, BankEvaluationConfig


def run(
    settings: BankEvaluationConfig,
    out: Path | None,
    resume: bool,
    skip_broken: bool,
    save_maps: bool,
    limit: int | None,
    title: str,
) -> None:
    """Measure retrieval and explanations, print the tables and write the results."""
    measured_methods(settings.explanation.methods)
    figures = chosen_figures(settings.explanation.metrics, OF_DECISIONS)
    shown = find_figures(figures, NEEDS_OF_DECISIONS, "an evaluation of a bank")
    gallery = functools.cache(lambda: _gallery(settings))
    made = opened(
        settings,
        settings.explanation.methods,
        also=gallery,
        center=settings.center,
        skip_broken=skip_broken,
        beside_a_bank=isinstance(settings.gallery, BankData),
    )
    found = gallery()
    if skip_broken and found is not None and not isinstance(settings.gallery, BankData):
        whole, found = found, without_broken(found)
        made.recorded[LEFT_OUT]["gallery"] = [len(whole) - len(found), len(whole)]
    if found is not None:
        split = None if isinstance(settings.gallery, BankData) else cast("DataConfig", settings.gallery).loaded_split
        made.recorded["gallery"] = images_used(found, split)
    maps = maps_folder(out, save_maps)
    with made.measuring(out, resume) as (partial, report):
        measured = bank_of(
            settings, made.encoder, made.dataset, found, limit, report, partial=partial, figures=figures, maps=maps
        )
    summary = summarize_bank(measured) | {"provenance": made.recorded}
    tables = made.show(bank_tables(summary, title, shown))
    if out is None:
        return
    page = Page(
        title=f"Retrieval and its explanations measured: {title}",
        lead=f"{summary['queries']} queries of {made.dataset.name} with {made.encoder.description}.",
        facts=_facts(settings, made.dataset, found),
        tables=tables,
    )
    found_in = made.dataset if found is None else found
    columns = bank_query_columns(measured, made.dataset.paths, found_in.paths)
    made.write(out, summary, {"queries": columns}, page, maps)


def _methods(settings: BankEvaluationConfig, encoder: Encoder) -> tuple[str, ...]:
    """Return the methods that the settings name, or those of the usual ones that fit the encoder."""
    explanation = settings.explanation
    named = "explanation" in settings.model_fields_set
    return methods_of(explanation, encoder) if named else fitting(explanation.methods, encoder)


def bank_of(
    settings: BankEvaluationConfig,
    encoder: Encoder,
    dataset: LabeledImages,
    gallery: LabeledImages | None = None,
    limit: int | None = None,
    report: Report = silent,
    *,
    partial: Path | None = None,
    figures: Sequence[str | Figure] = OF_DECISIONS,
    maps: Path | None = None,
) -> BankEvaluation:
    """Evaluate what the settings name, in values."""
    decision, explanation = settings.decision, settings.explanation
    return evaluate_bank(
        encoder,
        dataset,
        gallery=gallery,
        limit=limit,
        methods=_methods(settings, encoder),
        figures=figures,
        rules=decision.rules,
        k=decision.k,
        temperature=decision.temperature,
        similarity=decision.similarity,
        masking=explanation.masking,
        iou_threshold=explanation.iou_threshold,
        batch_size=settings.run.batch_size,
        partial=partial,
        maps=maps,
        engine=settings.run.chosen_engine,
        report=report,
    )


def _gallery(settings: BankEvaluationConfig) -> LabeledImages | None:
    if isinstance(settings.gallery, BankData):
        place = as_place(settings.gallery.directory)
        return BankGallery(MemoryBank.open(place), place.name)
    return None if settings.gallery is None else settings.gallery.open("gallery")


def _facts(settings: BankEvaluationConfig, dataset: LabeledImages, gallery: LabeledImages | None) -> dict[str, str]:
    decision = settings.decision
    searched = (
        f"the other images of {dataset.name}, {len(dataset)} of {len(dataset.classes)} classes"
        if gallery is None
        else f"{gallery.name}, {len(gallery)} images of {len(gallery.classes)} classes"
    )
    return {
        "Searched": searched,
        "Decisions": f"{', '.join(decision.rules)}; {decision.similarity} similarity",
        "Neighbors": f"{decision.k}, temperature {decision.temperature:g}",
        "Removed pixels become": settings.explanation.masking,
    }
