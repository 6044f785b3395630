"""``fsl-explain evaluate``."""

from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.cli.cases import episode_cases
from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.config import EvaluationConfig, read_config
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


def evaluate(
    *,
    config: Path,
    out: Path | None = None,
    limit: int | None = None,
    resume: bool = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> None:
    """Measure explanations over few-shot episodes: accuracy, AD, IC, Proportion, IoU and pointing per method.

    Every table carries the baselines grad-cam, lafam, centered-gaussian, random-blurred and all-ones. With --out the
    folder gets summary.json, queries.parquet, episodes.parquet and index.html; they appear together when all is done.

    Parameters
    ----------
    config
        TOML file of the evaluation, for example configs/live/cub10-efficientnet.toml.
    out
        Folder for the results; without it only the table is printed.
    limit
        Evaluate only the first N episodes.
    resume
        Go on with the finished episodes of an interrupted run of the same settings into the same --out.
    set_
        Change one setting, for example --set episodes.n_shot=5; may be repeated.
    """
    settings = read_config(config, EvaluationConfig, set_)
    if limit is not None:
        settings = _limited(settings, limit)
    if resume and out is None:
        raise Mistake("expected --out with --resume, because finished episodes are kept in that folder.")
    check_results_folder(out)
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    measured_methods(settings)
    dataset = settings.data.open()
    encoder = Encoder.from_config(settings.encoder, device=settings.run.device)
    run_evaluation(settings, encoder, dataset, out, resume, title=config.stem)


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


def _limited(settings: EvaluationConfig, limit: int) -> EvaluationConfig:
    if limit < 1:
        raise Mistake(f"expected a --limit of at least 1 episode, but got {limit}.")
    count = min(limit, settings.episodes.count)
    return settings.model_copy(update={"episodes": settings.episodes.model_copy(update={"count": count})})
