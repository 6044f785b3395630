"""The summary of a mosaics benchmark, and the tables people read."""

from collections.abc import Mapping
from typing import Any

import torch

from fsl_explain import metrics
from fsl_explain.evaluation.figures import FIGURES, OF_MOSAICS
from fsl_explain.evaluation.mosaics.measured_mosaics import HeadFigures
from fsl_explain.evaluation.table import Table

CEILINGS = {"one_reference": "tile alone, one reference", "contrast": "tile alone, contrast"}


def summarize_mosaics(figures: Mapping[str, HeadFigures]) -> dict[str, Any]:
    """Return every head's and method's figures: mean over mosaics, half width of its 95 % interval, count."""
    return {
        "mosaics": max(len(head.contrast) for head in figures.values()),
        "heads": {name: _head(head) for name, head in figures.items()},
    }


def mosaic_tables(summary: Mapping[str, Any], title: str) -> tuple[Table, ...]:
    """Lay a summary out as one table per figure, one row per method and one column per head.

    The first ends with two ceilings: how often the model itself, shown each tile alone, finds the right one.
    """
    return tuple(_table(summary, title, figure) for figure in OF_MOSAICS)


def _table(summary: Mapping[str, Any], title: str, figure: str) -> Table:
    shown = FIGURES[figure]
    heads = summary["heads"].values()
    methods = next(iter(heads))["methods"]
    rows = [(method, *(shown.interval(head["methods"][method][figure]) for head in heads)) for method in methods]
    if figure == "hit":
        rows += [(name, *(shown.interval(head["ceiling"][key]) for head in heads)) for key, name in CEILINGS.items()]
    columns = tuple(f"{name} ({head['dimensions']})" for name, head in summary["heads"].items())
    return Table(f"{title}: {shown.title}", ("method", *columns), tuple(rows), _notes(summary, figure))


def _notes(summary: Mapping[str, Any], figure: str) -> tuple[str, ...]:
    methods = [head["methods"] for head in summary["heads"].values()]
    silent = max((summary["mosaics"] - row[figure]["mosaics"] for head in methods for row in head.values()), default=0)
    notes = {
        "hit": [
            f"{summary['mosaics']} mosaics of four classes; chance 25 %. Mean ± 1.96 standard errors; in brackets the "
            "dimensions of the embedding. Heads are fitted on crops that appear in no mosaic.",
            "The last two rows are no maps: the model itself is shown each tile alone, at full size, and asked which "
            "is the most similar to the reference, and which leads most over the other three classes' references.",
            *_residual_notes(summary),
        ],
        "energy": [],
        "correlation": [
            "1: the map is the same whichever class it is asked about. –: the map is constant. Two contrasts against "
            "all others share their classes: -0.33 is what maps of the classes reach that have nothing in common."
        ],
    }[figure]
    if figure != "correlation" and silent:
        notes.append(f"Maps without a positive pixel are left out: up to {silent} of a method.")
    return tuple(notes)


def _residual_notes(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how well the methods add up that promise to; nothing where no residual is known."""
    rows = [(name, head["methods"].get(name)) for head in summary["heads"].values() for name in ("exact", "contrast")]
    known = [(name, row["largest_residual"]) for name, row in rows if row and row["largest_residual"] is not None]
    if not known:
        return ()
    names = list(dict.fromkeys(name for name, _ in known))
    adding = f"{' and '.join(names).capitalize()} add{'s' if len(names) == 1 else ''}"
    largest = max(residual for _, residual in known)
    return (f"{adding} up to the score: largest residual {largest:.0e} of the sum of the absolute terms.",)


def _head(head: HeadFigures) -> dict[str, Any]:
    methods = {
        name: {figure: _interval(getattr(found, figure)) for figure in OF_MOSAICS}
        | {"largest_residual": None if found.residual.isnan().any() else float(found.residual.max())}
        for name, found in head.methods.items()
    }
    ceiling = {key: _interval(getattr(head, key)) for key in CEILINGS}
    return {"dimensions": head.dimensions, "methods": methods, "ceiling": ceiling}


def _interval(values: torch.Tensor) -> dict[str, Any]:
    mean, half_width, counted = metrics.mean_interval(values)
    if counted == 0:
        return {"mean": None, "half_width": None, "mosaics": 0}
    return {"mean": mean, "half_width": half_width, "mosaics": counted}
