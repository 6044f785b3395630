"""``fsl-explain evaluate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsl_explain.cli.cases import episode_cases
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.cli.measuring import Opened, maps_folder, opened
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation import Table, summarize, table_of
from fsl_explain.evaluation.chosen_methods import with_baselines
from fsl_explain.evaluation.figures import OF_DECISIONS, Figure, find_figures
from fsl_explain.evaluation.masked_queries import NEEDS_OF_DECISIONS
from fsl_explain.evaluation.measurement import Chunk, episode_columns, query_columns
from fsl_explain.evaluation.own_figures import chosen_figures
from fsl_explain.evaluation.results.written import Columns
from fsl_explain.report import Page


def run(
    settings: EvaluationConfig, out: Path | None, resume: bool, skip_broken: bool, save_maps: bool, title: str
) -> None:
    """Open the images and the encoder that the settings name, and evaluate."""
    with_baselines(settings.explanation.methods)
    figures = chosen_figures(settings.explanation.metrics, OF_DECISIONS)
    find_figures(figures, NEEDS_OF_DECISIONS, "an evaluation of episodes")
    made = opened(settings, settings.explanation.methods, center=settings.center, skip_broken=skip_broken)
    run_evaluation(settings, made, out, resume, title=title, save_maps=save_maps, figures=figures)


def run_evaluation(
    settings: EvaluationConfig,
    made: Opened,
    out: Path | None,
    resume: bool = False,
    title: str = "evaluation",
    save_maps: bool = False,
    figures: Sequence[str | Figure] = OF_DECISIONS,
) -> dict[str, Any]:
    """Evaluate, print the table, and write the results; return the summary."""
    maps = maps_folder(out, save_maps)
    with made.measuring(out, resume) as (partial, report):
        chunk = episodes_of(settings, made.encoder, made.dataset, partial, report, maps, figures)
    summary = summarize(chunk) | {"provenance": made.recorded}
    tables = made.show([table_of(summary, title, chunk.measurements.shown)])
    if out is not None:
        queries = query_columns(chunk, made.dataset.classes, made.dataset.paths)
        columns: dict[str, Columns] = {"queries": queries, "episodes": episode_columns(chunk)}
        made.write(out, summary, columns, _page(settings, made, chunk, title, tables), maps)
    return summary


def _page(settings: EvaluationConfig, made: Opened, chunk: Chunk, title: str, tables: tuple[Table, ...]) -> Page:
    sizes, dataset = settings.episodes, made.dataset
    return Page(
        title=f"Explanations measured: {title}",
        lead=f"{sizes.count} episodes, {sizes.n_way}-way {sizes.n_shot}-shot, on {dataset.name} "
        f"with {made.encoder.description}.",
        facts={
            "Decision": f"{settings.decision.rule}, {settings.decision.similarity} similarity",
            "Images": f"{len(dataset)} of {len(dataset.classes)} classes",
            "Removed pixels become": settings.explanation.masking,
            "Seed": str(sizes.seed),
        },
        tables=tables,
        cases=episode_cases(settings, made.encoder, dataset, chunk),
    )
