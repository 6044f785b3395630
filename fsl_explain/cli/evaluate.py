"""``fsl-explain evaluate``."""

from pathlib import Path
from typing import Any

import torch

from episodes import LabeledImages
from fsl_explain.cli.cases import episode_cases
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.config import EvaluationConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import Table, evaluate_episodes, summarize, table_of
from fsl_explain.evaluation.episodes import measured_methods
from fsl_explain.evaluation.measurement import Chunk
from fsl_explain.evaluation.results.written import (
    partial_folder,
    provenance,
    remove_partial,
    uninterrupted,
    write_results,
)
from fsl_explain.evaluation.seen_classes import check_evaluated
from fsl_explain.report import Page, write_page


def run(settings: EvaluationConfig, out: Path | None, resume: bool, title: str) -> None:
    """Open the images and the encoder that the settings name, and evaluate."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    measured_methods(settings)
    dataset = settings.data.open()
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    run_evaluation(settings, encoder, dataset, out, resume, title=title)


def run_evaluation(
    settings: EvaluationConfig,
    encoder: Encoder,
    dataset: LabeledImages,
    out: Path | None,
    resume: bool = False,
    title: str = "evaluation",
) -> dict[str, Any]:
    """Evaluate, print the table, and write the results; return the summary.

    Raises: ``ValueError`` for classes that the encoder was trained on, unless its settings allow them.
    """
    seen = check_evaluated(settings.encoder, settings.data, dataset)
    recorded = provenance(settings, encoder, dataset) | seen.recorded
    partial = None if out is None else partial_folder(out, recorded, resume)
    with progress_bars() as report:
        chunk = evaluate_episodes(encoder, dataset, settings, partial, report)
    summary = summarize(chunk) | {"provenance": recorded}
    table = seen.beside(table_of(summary, title))
    show_table(table)
    if out is not None:
        _write(out, summary, chunk, dataset, settings, encoder, title, table)
        note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")
    return summary


def _write(
    out: Path,
    summary: dict[str, Any],
    chunk: Chunk,
    dataset: LabeledImages,
    settings: EvaluationConfig,
    encoder: Encoder,
    title: str,
    table: Table,
) -> None:
    sizes = settings.episodes
    page = Page(
        title=f"Explanations measured: {title}",
        lead=f"{sizes.count} episodes, {sizes.n_way}-way {sizes.n_shot}-shot, on {dataset.name} "
        f"with {encoder.description}.",
        facts={
            "Decision": f"{settings.decision.rule}, {settings.decision.similarity} similarity",
            "Images": f"{len(dataset)} of {len(dataset.classes)} classes",
            "Removed pixels become": settings.explanation.masking,
            "Seed": str(sizes.seed),
        },
        tables=(table,),
        cases=episode_cases(settings, encoder, dataset, chunk),
    )
    with uninterrupted():
        write_results(out, summary, chunk, dataset)
        write_page(page, out / "index.html")
        remove_partial(out)
