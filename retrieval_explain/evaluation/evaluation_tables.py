"""The summary of an evaluation of retrieval, the tables people read, and one row per query for machines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.evaluation import Table
from fsl_explain.evaluation.figures import FIGURES, Figure
from fsl_explain.evaluation.tables.episode_summary import columns_of, with_places
from retrieval_explain.decisions.chosen_classes import NOBODY
from retrieval_explain.evaluation.measured_decisions import RuleFigures
from retrieval_explain.evaluation.retrieval_evaluation import BankEvaluation
from retrieval_explain.ranking.ranked_lists import Tied

HEADINGS = {
    "r-precision": "R-precision",
    "map@r": "mAP@R",
    "weighted vote": "k-NN top-1, weighted vote",
    "majority vote": "k-NN top-1, majority vote",
}
RULE_TITLES = {
    "knn-vote": "weighted k-NN vote (as FAM Table III)",
    "majority-vote": "majority vote",
    "nearest-neighbor": "nearest neighbor (as FAM Table IV)",
}


def summarize_bank(measured: BankEvaluation) -> dict[str, Any]:
    """Return every score and every method's figures: mean over queries, half width of its 95 % interval, counts."""
    return {
        "queries": len(measured.images),
        "gallery": measured.reach,
        "neighbors": measured.neighbors.indices.shape[1],
        "retrieval": {
            name: _tied(score) | {"chance": measured.chance[name]} for name, score in measured.scores.items()
        },
        "rules": {figures.rule: _of_rule(measured, figures) for figures in measured.rules},
    }


def bank_tables(summary: Mapping[str, Any], title: str, figures: Sequence[str | Figure] = ()) -> tuple[Table, ...]:
    """Lay a summary out: the retrieval scores, then one table of methods for each rule.

    ``figures`` are those of the summary that are not registered.
    """
    return (
        _retrieval_table(summary, title),
        *(_rule_table(summary, title, rule, figures) for rule in summary["rules"]),
    )


def bank_query_columns(
    measured: BankEvaluation, paths: Sequence[Path | None], gallery_paths: Sequence[Path | None]
) -> dict[str, np.ndarray | list[str | None]]:
    """Return one row per rule, method and query, as columns of a table; ``score`` is the mean similarity of AD and IC.

    ``decision_score`` and ``margin`` are the rule's own: the predicted class's score and its lead over the runner-up,
    which is None where no other class has a neighbor.
    """
    methods, queries = measured.methods, len(measured.images)
    per_query = [_columns_of(measured, figures) for figures in measured.rules]
    columns: dict[str, np.ndarray | list[str | None]] = {
        "rule": [figures.rule for figures in measured.rules for _ in range(len(methods) * queries)],
        "method": [method for _ in measured.rules for method in methods for _ in range(queries)],
    }
    shared = {
        "path": [_text(paths[index]) for index in measured.images.tolist()],
        "class": [measured.classes[label] for label in measured.labels.tolist()],
        "nearest_path": [_text(gallery_paths[row]) for row in measured.neighbors.indices[:, 0].tolist()],
    }
    columns |= {name: values * (len(methods) * len(measured.rules)) for name, values in shared.items()}
    for name, first in per_query[0].items():
        parts = [part[name] for part in per_query]
        if isinstance(first, list):
            columns[name] = [value for part in parts for value in list(part) * len(methods)]
        else:
            columns[name] = np.concatenate([np.tile(np.asarray(part), len(methods)) for part in parts])
    return columns | _method_columns(measured)


def _columns_of(measured: BankEvaluation, figures: RuleFigures) -> dict[str, np.ndarray | list[str | None]]:
    chosen = figures.chosen
    return {
        "image": measured.images.numpy(),
        "nearest_similarity": measured.neighbors.similarities[:, 0].numpy(),
        "predicted": [measured.classes[label] for label in chosen.predicted.tolist()],
        "runner_up": [None if label == NOBODY else measured.classes[label] for label in chosen.runner_up.tolist()],
        "correct": figures.correct.numpy(),
        "decision_score": chosen.score.numpy(),
        "margin": chosen.lead.numpy(),
        "score": figures.score.numpy(),
    }


def _method_columns(measured: BankEvaluation) -> dict[str, np.ndarray]:
    masked = np.concatenate([figures.masked_score.flatten().numpy() for figures in measured.rules])
    return {"masked_score": masked} | {
        name: np.concatenate([figures.figures[name].flatten().numpy() for figures in measured.rules])
        for name in measured.rules[0].figures
    }


def _tied(score: Tied) -> dict[str, Any]:
    mean = score.mean()
    bounds = {"optimistic": _number(mean.optimistic), "pessimistic": _number(mean.pessimistic)}
    return _interval(score.expected) | bounds | {"without_reference": score.undefined}


def _of_rule(measured: BankEvaluation, figures: RuleFigures) -> dict[str, Any]:
    methods: dict[str, Any] = {}
    for position, method in enumerate(measured.methods):
        methods[method] = {name: _interval(values[position]) for name, values in figures.figures.items()}
        if "average_drop" in figures.figures:
            left_out = figures.figures["average_drop"][position].isnan() & figures.correct
            methods[method]["left_out_of_average_drop"] = int(left_out.sum())
    return {
        "accuracy": _interval(figures.correct.double()),
        "correct": int(figures.correct.sum()),
        "unopposed": int((figures.correct & (figures.chosen.runner_up == NOBODY)).sum()),
        "object_area": methods["all-ones"].get("proportion", {}).get("mean"),
        "methods": methods,
    }


def _retrieval_table(summary: Mapping[str, Any], title: str) -> Table:
    columns = ("score, % ↑", "ties in every order", "relevant first", "relevant last", "chance")
    rows = tuple(
        (
            HEADINGS.get(name, name.capitalize()),
            FIGURES["accuracy"].interval(score),
            *(_percent(score[bound]) for bound in ("optimistic", "pessimistic", "chance")),
        )
        for name, score in summary["retrieval"].items()
    )
    alone = max(score["without_reference"] for score in summary["retrieval"].values())
    notes = [
        f"{summary['queries']} queries, each compared with {summary['gallery']} images; "
        f"the nearest {summary['neighbors']} vote. Mean over queries ± 1.96 standard errors.",
        "Images of equal similarity have no order: the score is the mean over all of their orders. Chance is that "
        "mean where all images are equally similar.",
    ]
    if alone:
        notes.append(f"{alone} queries without another image of their class are left out.")
    return Table(f"{title}: retrieval", columns, rows, tuple(notes))


def _rule_table(summary: Mapping[str, Any], title: str, rule: str, own: Sequence[str | Figure]) -> Table:
    figures = summary["rules"][rule]
    shown, notes = with_places(columns_of(figures["methods"], own), figures["methods"])
    rows = tuple(
        (method, *(figure.interval(values[figure.name]) for figure in shown))
        for method, values in figures["methods"].items()
    )
    columns = ("method", *(figure.title for figure in shown))
    return Table(f"{title}: {RULE_TITLES.get(rule, rule)}", columns, rows, (*_rule_notes(summary, figures), *notes))


def _rule_notes(summary: Mapping[str, Any], figures: Mapping[str, Any]) -> tuple[str, ...]:
    left_out = max(values.get("left_out_of_average_drop", 0) for values in figures["methods"].values())
    notes = [
        f"Accuracy {FIGURES['accuracy'].interval(figures['accuracy'])} % over {summary['queries']} queries. "
        f"Maps are judged on the {figures['correct']} correct decisions; mean over queries ± 1.96 standard errors.",
        "AD and IC compare the mean similarity to the voters of the predicted class, before and after masking. "
        "An all-ones map keeps every pixel: its AD of 0 is no merit.",
    ]
    if figures["object_area"] is not None:
        notes.append(
            f"The annotated object covers {_percent(figures['object_area'])} % of the image: the Proportion of a map "
            "that says nothing."
        )
    if figures["unopposed"]:
        notes.append(
            f"In {figures['unopposed']} correct decisions no other class has a neighbor; there contrast explains the "
            "score itself."
        )
    if left_out:
        notes.append(f"AD leaves out up to {left_out} queries whose similarity is not positive.")
    return tuple(notes)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _interval(values: Float[Tensor, "query"]) -> dict[str, Any]:
    mean, half_width, counted = metrics.mean_interval(values)
    if counted == 0:
        return {"mean": None, "half_width": None, "queries": 0}
    return {"mean": mean, "half_width": half_width, "queries": counted}


def _number(value: Float[Tensor, ""]) -> float | None:
    return None if torch.isnan(value) else float(value)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
