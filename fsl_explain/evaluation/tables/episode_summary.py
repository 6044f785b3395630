"""The summary of an evaluation, and the table people read."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fsl_explain import metrics
from fsl_explain.evaluation.figures import FIGURES, Figure, shown_figures
from fsl_explain.evaluation.measurement import Chunk, episode_means
from fsl_explain.evaluation.table import Table


def summarize(chunk: Chunk) -> dict[str, Any]:
    """Return accuracy and every method's figures: mean over episodes, half width of its 95 % interval, counts.

    Under ``accuracy``, and under ``methods`` by method and figure, stand ``mean``, ``half_width`` (1.96 standard
    errors) and ``episodes``, those that have the figure; None, None and 0 where none has. They are in the unit of the
    figure, a share from 0 to 1 for most. ``episodes``, ``queries`` and ``correct`` are counts, ``object_area`` the mean
    share of the image that the annotated object covers, None where no all-ones map was measured by ``proportion``, and
    ``left_out_of_average_drop`` how many correct decisions have no drop. All of it can be written as JSON.
    """
    accuracy = chunk.decisions.accuracy
    figures = chunk.measurements.figures
    correct = chunk.decisions.truth == chunk.decisions.predicted
    methods: dict[str, Any] = {}
    for position, method in enumerate(chunk.measurements.methods):
        methods[method] = {name: _interval(episode_means(values[position])) for name, values in figures.items()}
        if "average_drop" in figures:
            left_out = int((figures["average_drop"][position].isnan() & correct).sum())
            methods[method]["left_out_of_average_drop"] = left_out
    return {
        "accuracy": _interval(accuracy),
        "episodes": len(accuracy),
        "queries": int(correct.numel()),
        "correct": int(correct.sum()),
        "object_area": methods.get("all-ones", {}).get("proportion", {}).get("mean"),
        "methods": methods,
    }


def table_of(summary: Mapping[str, Any], title: str, figures: Sequence[str | Figure] = ()) -> Table:
    """Lay a summary, as ``summarize`` returns it, out as one row per method: mean ± half width of every figure.

    ``title`` is that of the table; ``figures`` says how those are shown that are not registered:
    ``chunk.measurements.shown``.

    Raises: ``LookupError`` for a figure that is not registered.
    """
    shown, notes = with_places(columns_of(summary["methods"], figures), summary["methods"])
    rows = [
        (method, *(figure.interval(values[figure.name]) for figure in shown))
        for method, values in summary["methods"].items()
    ]
    return Table(title, ("method", *(figure.title for figure in shown)), tuple(rows), (*_notes(summary), *notes))


def columns_of(methods: Mapping[str, Mapping[str, Any]], figures: Sequence[str | Figure] = ()) -> tuple[Figure, ...]:
    """Return the figures that the methods of a summary have; one that nothing tells of is shown under its own name."""
    names = dict.fromkeys(name for values in methods.values() for name in values if isinstance(values[name], Mapping))
    given = {figure.name: figure for figure in map(FIGURES.find, figures)}
    untold = [Figure(name, name, factor=1.0, higher_is_better=None) for name in names if name not in FIGURES]
    return shown_figures(names, {**{figure.name: figure for figure in untold}, **given}.values())


def with_places(
    figures: Sequence[Figure], methods: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Leave out the figures that ask where the object is, where no judged image shows it; return also what to say."""
    measured = [
        figure for figure in figures if any(values[figure.name]["mean"] is not None for values in methods.values())
    ]
    without = tuple(figure for figure in figures if figure.of_places and figure not in measured)
    if not measured or not without:
        return tuple(figures), ()
    names = ", ".join(figure.heading.removesuffix(" %") for figure in without)
    note = f"No judged image has boxes or masks: figures that ask where the object is are left out ({names})."
    return tuple(figure for figure in figures if figure not in without), (note,)


def _notes(summary: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy = summary["accuracy"]
    area = summary["object_area"]
    left_out = max((figures.get("left_out_of_average_drop", 0) for figures in summary["methods"].values()), default=0)
    notes = [
        f"Accuracy {100 * accuracy['mean']:.2f} ± {100 * accuracy['half_width']:.2f} % over {summary['episodes']} "
        f"episodes, {summary['queries']} queries. Maps are judged on the {summary['correct']} correct decisions.",
        f"Mean over episodes ± 1.96 standard errors.{_of_drops(summary['methods'])}",
    ]
    if area is not None:
        notes.append(
            f"The annotated object covers {100 * area:.1f} % of the image: the Proportion of a map that says nothing."
        )
    if left_out:
        notes.append(f"AD leaves out up to {left_out} queries whose score is not positive.")
    return tuple(notes)


def _of_drops(methods: Mapping[str, Mapping[str, Any]]) -> str:
    measured = any("average_drop" in values for values in methods.values())
    return " An all-ones map keeps every pixel: its AD of 0 is no merit." if measured else ""


def _interval(values: torch.Tensor) -> dict[str, Any]:
    mean, half_width, counted = metrics.mean_interval(values)
    if counted == 0:
        return {"mean": None, "half_width": None, "episodes": 0}
    return {"mean": mean, "half_width": half_width, "episodes": counted}
