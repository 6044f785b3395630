"""The summary of an evaluation, and the table people read."""

from collections.abc import Mapping
from typing import Any

import torch

from fsl_explain import metrics
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.evaluation.measurement import METRICS, Chunk, episode_means
from fsl_explain.evaluation.table import Table

COLUMNS = {
    name: FIGURES[name]
    for name in ("average_drop", "increase_in_confidence", "proportion", "intersection_over_union", "pointing_game")
}


def summarize(chunk: Chunk) -> dict[str, Any]:
    """Return accuracy and every method's figures: mean over episodes, half width of its 95 % interval, counts."""
    accuracy = chunk.decisions.accuracy
    figures = chunk.measurements.figures
    correct = chunk.decisions.truth == chunk.decisions.predicted
    methods: dict[str, Any] = {}
    for position, method in enumerate(chunk.measurements.methods):
        methods[method] = {name: _interval(episode_means(figures[name][position])) for name in METRICS}
        left_out = int((figures["average_drop"][position].isnan() & correct).sum())
        methods[method]["left_out_of_average_drop"] = left_out
    return {
        "accuracy": _interval(accuracy),
        "episodes": len(accuracy),
        "queries": int(correct.numel()),
        "correct": int(correct.sum()),
        "object_area": methods["all-ones"]["proportion"]["mean"],
        "methods": methods,
    }


def table_of(summary: Mapping[str, Any], title: str) -> Table:
    """Lay a summary out as one row per method: mean ± half width in percent."""
    rows = [
        (method, *(_cell(figures[name], figure.factor) for name, figure in COLUMNS.items()))
        for method, figures in summary["methods"].items()
    ]
    return Table(title, ("method", *(figure.title for figure in COLUMNS.values())), tuple(rows), _notes(summary))


def _notes(summary: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy = summary["accuracy"]
    area = summary["object_area"]
    left_out = max((figures["left_out_of_average_drop"] for figures in summary["methods"].values()), default=0)
    notes = [
        f"Accuracy {100 * accuracy['mean']:.2f} ± {100 * accuracy['half_width']:.2f} % over {summary['episodes']} "
        f"episodes, {summary['queries']} queries. Maps are judged on the {summary['correct']} correct decisions.",
        "Mean over episodes ± 1.96 standard errors. An all-ones map keeps every pixel: its AD of 0 is no merit.",
    ]
    if area is not None:
        notes.append(
            f"The annotated object covers {100 * area:.1f} % of the image: the Proportion of a map that says nothing."
        )
    if left_out:
        notes.append(f"AD leaves out up to {left_out} queries whose score is not positive.")
    return tuple(notes)


def _cell(interval: Mapping[str, Any], factor: float) -> str:
    if interval["mean"] is None:
        return "–"
    return f"{factor * interval['mean']:.2f} ± {factor * interval['half_width']:.2f}"


def _interval(values: torch.Tensor) -> dict[str, Any]:
    mean, half_width, counted = metrics.mean_interval(values)
    if counted == 0:
        return {"mean": None, "half_width": None, "episodes": 0}
    return {"mean": mean, "half_width": half_width, "episodes": counted}
