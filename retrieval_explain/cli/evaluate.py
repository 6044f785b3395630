"""``retrieval-explain evaluate``."""

from pathlib import Path
from typing import Any

import torch

from episodes import LabeledImages
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.results.written import images_used, provenance, write_tables
from fsl_explain.evaluation.seen_classes import check_evaluated
from fsl_explain.report import Page, render_page
from retrieval_explain.evaluation.bank_gallery import BankGallery
from retrieval_explain.evaluation.evaluation_tables import bank_query_columns, bank_tables, summarize_bank
from retrieval_explain.evaluation.retrieval_evaluation import BankEvaluation, evaluate_bank, measured_methods
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.settings import BankData, BankEvaluationConfig


def run(settings: BankEvaluationConfig, out: Path | None, limit: int | None, title: str) -> None:
    """Measure retrieval and explanations, print the tables and write the results."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    measured_methods(settings)
    dataset = settings.data.open()
    gallery = _gallery(settings)
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    seen = check_evaluated(settings.encoder, settings.data, dataset)
    recorded = provenance(settings, encoder, dataset) | seen.recorded
    if gallery is not None:
        recorded["gallery"] = images_used(None if isinstance(settings.gallery, BankData) else settings.gallery, gallery)
    with progress_bars() as report:
        measured = evaluate_bank(encoder, dataset, settings, gallery, limit, report)
    summary = summarize_bank(measured) | {"provenance": recorded}
    tables = [seen.beside(one) for one in bank_tables(summary, title)]
    for table in tables:
        show_table(table)
    if out is None:
        return
    page = Page(
        title=f"Retrieval and its explanations measured: {title}",
        lead=f"{summary['queries']} queries of {dataset.name} with {encoder.description}.",
        facts=_facts(settings, dataset, gallery),
        tables=tuple(tables),
    )
    _write(out, summary, measured, dataset, gallery, page)
    note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")


def _gallery(settings: BankEvaluationConfig) -> LabeledImages | None:
    if isinstance(settings.gallery, BankData):
        return BankGallery(MemoryBank.load(settings.gallery.directory), settings.gallery.directory.name)
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


def _write(
    out: Path,
    summary: dict[str, Any],
    measured: BankEvaluation,
    dataset: LabeledImages,
    gallery: LabeledImages | None,
    page: Page,
) -> None:
    found_in = dataset if gallery is None else gallery
    columns = bank_query_columns(measured, dataset.paths, found_in.paths)
    write_tables(out, summary, {"queries": columns}, {"index.html": render_page(page)})
