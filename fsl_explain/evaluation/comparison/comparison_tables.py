"""The tables and the stored columns of a comparison of explainers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.evaluation.comparison.compared_images import MapComparison
from fsl_explain.evaluation.figures import FIGURES, OF_ALL_REMOVALS, OF_MAPS, OF_REFERENCES
from fsl_explain.evaluation.results.read_back import StoredResults
from fsl_explain.evaluation.results.written import Columns
from fsl_explain.evaluation.table import Table
from fsl_explain.evaluation.tables.paired_table import comparison_table, difference_table

AGAINST = "lafam"
WHAT_REMOVALS_SAY = (
    "Regions of each image were removed, and the network was asked what was left of the lead over the runner-up. "
    "Removed sets: the correlation of what a map holds in each set of regions with what the lead lost. A map of all "
    "ones counts regions, which alone reaches its figure; at equal size, the partial correlation, that number is held "
    "still, and – stands where a map is the same everywhere and makes no claim.",
    "Infidelity: the share of the squared drops that a map leaves unexplained at its best scale; 100: all of them.",
)
WHAT_TELLS_APART = (
    "Other reference: the correlation of a method's maps under the predicted class and under another one; at 1 it "
    "looks at the image alone. The two contrasts share no class, which takes four classes: –, where there are fewer.",
    "Insertion and deletion: the mean lead over the runner-up while the pixels of the largest values are put back, or "
    "removed; the trivial maps say what any order of pixels reaches.",
)


def results_of(measured: MapComparison, name: str, chosen: Bool[Tensor, "query"] | None = None) -> StoredResults:
    """Return the figures of every method that was measured on all of the chosen queries; None: on every query."""
    rows = torch.ones_like(measured.sampled) if chosen is None else chosen
    of_maps = [values for name, values in measured.figures.items() if not _on_a_sample(name)]
    unknown = torch.stack(of_maps)[:, :, ~measured.sampled].isnan().all(dim=2).all(dim=0)
    perturbing = unknown & bool((~measured.sampled).any())
    kept = [
        (place, method)
        for place, method in enumerate(measured.methods)
        if not (bool(perturbing[place]) and bool((rows & ~measured.sampled).any()))
    ]
    figures = {
        method: {name: values[place, rows].numpy() for name, values in measured.figures.items()}
        for place, method in kept
    }
    return StoredResults(name, "images", figures)


def comparison_tables(measured: MapComparison, title: str, model: str) -> tuple[Table, ...]:
    """Lay out what tells maps apart, then LaFAM's six figures: on the sample, on all images, and as differences."""
    sample, every = results_of(measured, model, measured.sampled), results_of(measured, model)
    count, images = int(measured.sampled.sum()), len(measured.queries)
    apart, judged = _figures(measured)
    tables: list[Table] = []
    if apart:
        found = comparison_table(f"{title}: what tells maps apart, {count} images", [sample], apart)
        tables.append(_with_notes(found, WHAT_TELLS_APART))
    if judged and count < images:
        tables.append(comparison_table(f"{title}: as LaFAM's tables, {images} images", [every], judged))
    if judged:
        tables.append(comparison_table(f"{title}: as LaFAM's tables, {count} images", [sample], judged))
    return (*tables, *(difference_table(sample, figures, AGAINST) for figures in (apart, judged) if figures))


def removal_tables(measured: MapComparison, title: str, model: str) -> tuple[Table, ...]:
    """Lay out whether maps tell what removing regions really does, and as differences; nothing where none were."""
    removals = [name for name in OF_ALL_REMOVALS if name in measured.figures]
    if not removals:
        return ()
    sample, count = results_of(measured, model, measured.sampled), int(measured.sampled.sum())
    found = comparison_table(f"{title}: what removing regions really does, {count} images", [sample], removals)
    return _with_notes(found, WHAT_REMOVALS_SAY), difference_table(sample, removals, AGAINST)


def _figures(measured: MapComparison) -> tuple[list[str], list[str]]:
    """Return the registered figures that tell maps apart, and those that judge each map: LaFAM's, then any other."""
    known = [name for name in measured.figures if name in FIGURES and name not in OF_ALL_REMOVALS]
    apart = [name for name in OF_REFERENCES if name in known]
    judged = [name for name in OF_MAPS if name in known]
    return apart, [*judged, *(name for name in known if name not in apart and name not in judged)]


def _on_a_sample(name: str) -> bool:
    return name in FIGURES and FIGURES[name].on_a_sample


def summarize_comparison(measured: MapComparison) -> dict[str, Any]:
    """Return accuracy and every method's figures: mean over images, half width of its 95 % interval, count."""
    correct = (measured.truth == measured.predicted).double()
    return {
        "images": len(measured.queries),
        "sample": int(measured.sampled.sum()),
        "accuracy": _interval(correct) if measured.decided else None,
        "methods": {
            method: {name: _interval(values[place]) for name, values in measured.figures.items()}
            for place, method in enumerate(measured.methods)
        },
    }


def comparison_columns(measured: MapComparison, classes: Sequence[str], paths: Sequence[Path | None]) -> Columns:
    """Return one row per method and image, as columns of a table."""
    count, repeated = len(measured.queries), len(measured.methods)
    shared: dict[str, list[Any]] = {
        "path": [None if paths[image] is None else str(paths[image]) for image in measured.queries.tolist()],
        "class": [classes[label] for label in measured.truth.tolist()],
        "predicted": [classes[label] for label in measured.predicted.tolist()],
    }
    columns: dict[str, Any] = {"method": [method for method in measured.methods for _ in range(count)]}
    columns |= {name: values * repeated for name, values in shared.items()}
    columns["image"] = np.tile(measured.queries.numpy(), repeated)
    if measured.decided:
        columns["correct"] = np.tile((measured.truth == measured.predicted).numpy(), repeated)
    else:
        del columns["predicted"]
    columns["sampled"] = np.tile(measured.sampled.numpy(), repeated)
    return columns | {name: values.flatten().numpy() for name, values in measured.figures.items()}


def _interval(values: torch.Tensor) -> Mapping[str, Any]:
    mean, half_width, counted = metrics.mean_interval(values)
    if not counted:
        return {"mean": None, "half_width": None, "images": 0}
    return {"mean": mean, "half_width": half_width, "images": counted}


def _with_notes(table: Table, notes: Sequence[str]) -> Table:
    return Table(table.title, table.columns, table.rows, (*table.notes, *notes), table.bold, table.names)
