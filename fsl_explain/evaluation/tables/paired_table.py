"""Tables of stored measurements: means with intervals, bold only where a test says so, and paired differences."""

from collections.abc import Collection, Sequence

import numpy as np
import torch

from episodes.naming import unknown_name
from fsl_explain import metrics
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.evaluation.results.read_back import StoredResults
from fsl_explain.evaluation.table import Table
from fsl_explain.evaluation.tables.paired_bootstrap import CONFIDENCE, RESAMPLES, clearly_best, paired_difference
from fsl_explain.explainers.methods.named import TRIVIAL

UNKNOWN = "–"


def comparison_table(
    title: str, results: Sequence[StoredResults], figures: Sequence[str], methods: Sequence[str] | None = None
) -> Table:
    """Lay out one row for each method, under its model where there are several: mean ± half a 95 % interval.

    An entry is bold where its method beats every other one of the same results, trivial maps included, in a paired
    bootstrap; a trivial map never is. ``methods`` shows some of them only, beside the trivial maps; all take part in
    the test.

    Raises: ``LookupError`` for a method or figure that the results do not have.
    """
    _check(results, figures, methods)
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    named = 1 if len(results) == 1 else 2
    for one in results:
        best = {name: _clearly_best(one, name) for name in figures}
        for method in one.figures if methods is None else _with_trivial(one, methods):
            entries = [_mean(one, method, name) for name in figures]
            names = (one.name, method)[-named:]
            if method not in TRIVIAL:
                bold |= {(len(rows), named + place) for place, name in enumerate(figures) if best[name] == method}
            rows.append((*names, *entries))
    columns = (*("model", "method")[-named:], *(FIGURES[name].title for name in figures))
    notes = _notes(results, figures, {row[named - 1] for row in rows})
    return Table(title, columns, rows, notes, frozenset(bold), named)


def difference_table(results: StoredResults, figures: Sequence[str], against: str) -> Table:
    """Lay out each method's mean difference from one of them, on the same units, with its 95 % interval.

    Raises: ``LookupError`` for a method or figure that the results do not have.
    """
    _check([results], figures, [against])
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    for method in (name for name in results.figures if name != against):
        entries = []
        for place, name in enumerate(figures):
            mine, theirs = results.figures[method].get(name), results.figures[against].get(name)
            found = None if mine is None or theirs is None else paired_difference(mine, theirs)
            if found is None or not found.pairs:
                entries.append(UNKNOWN)
                continue
            mean, low, high = (FIGURES[name].text(value, signed=True) for value in (found.mean, found.low, found.high))
            entries.append(f"{mean} [{low}, {high}]")
            if found.excludes_zero:
                bold.add((len(rows), 1 + place))
        rows.append((method, *entries))
    return Table(
        f"{results.name}: difference from {against}",
        ("method", *(FIGURES[name].title for name in figures)),
        rows,
        (
            f"Mean of the paired differences over {results.unit}, with a percentile interval of "
            f"{100 * CONFIDENCE:g} % from {RESAMPLES:,} resamples of them; bold: it excludes zero. Each entry is "
            "tested alone: of twenty without any difference about one is bold by chance.",
            *results.caveats,
        ),
        frozenset(bold),
    )


def _clearly_best(results: StoredResults, figure: str) -> str | None:
    direction = FIGURES[figure].higher_is_better
    return None if direction is None else clearly_best(results.of(figure), direction)


def _with_trivial(results: StoredResults, methods: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*methods, *(name for name in TRIVIAL if name in results.figures))))


def _mean(results: StoredResults, method: str, figure: str) -> str:
    values = results.figures.get(method, {}).get(figure)
    if values is None:
        return UNKNOWN
    mean, half_width, counted = metrics.mean_interval(torch.from_numpy(values))
    return FIGURES[figure].interval({"mean": mean if counted else None, "half_width": half_width})


def _notes(results: Sequence[StoredResults], figures: Sequence[str], shown: Collection[str]) -> tuple[str, ...]:
    units = sorted({one.unit for one in results})
    notes = [
        f"Mean over {' or '.join(units)} ± 1.96 standard errors. Bold: better than every other method of the same "
        f"results, trivial maps included, in a paired bootstrap at {100 * CONFIDENCE:g} % for all comparisons together."
    ]
    notes += [f"{one.name}: {caveat}" for one in results for caveat in one.caveats]
    notes += [note for name in figures for one in results for note in _fewer_units(one, name, shown)]
    missing = [name for name in figures if not any(one.of(name) for one in results)]
    if missing:
        notes.append(f"Not measured in these results: {', '.join(missing)}.")
    for name in figures:
        winners = {one.name: trivial for one in results if (trivial := _trivial_winner(one, name)) is not None}
        if winners:
            where = "; ".join(f"{trivial} in {model}" for model, trivial in winners.items())
            notes.append(f"{FIGURES[name].title} has a trivial map as its best: {where}. There it proves nothing.")
    return tuple(notes)


def _fewer_units(results: StoredResults, figure: str, shown: Collection[str]) -> tuple[str, ...]:
    """Name the methods whose mean is over fewer units than another's: their means do not compare."""
    counts = {method: int((~np.isnan(values)).sum()) for method, values in results.of(figure).items()}
    most = max(counts.values(), default=0)
    fewer = [f"{method} ({count})" for method, count in counts.items() if method in shown and 0 < count < most]
    if not fewer:
        return ()
    title = FIGURES[figure].title
    return (f"{results.name}: {title} is of {most} {results.unit}, but of fewer for {', '.join(fewer)}.",)


def _trivial_winner(results: StoredResults, figure: str) -> str | None:
    """Return the map that looks at nothing and has the best mean over the units that every method has.

    None where a real method has it, and where the methods share no unit.
    """
    if figure == "accuracy" or FIGURES[figure].higher_is_better is None:
        return None
    sign = 1 if FIGURES[figure].higher_is_better else -1
    known = {method: sign * values for method, values in results.of(figure).items() if not np.isnan(values).all()}
    everywhere = ~np.isnan([*known.values()]).any(axis=0)
    if not everywhere.any():
        return None
    best = max(known, key=lambda method: float(known[method][everywhere].mean()), default=None)
    return best if best in TRIVIAL else None


def _check(results: Sequence[StoredResults], figures: Sequence[str], methods: Sequence[str] | None) -> None:
    for name in figures:
        if name not in FIGURES:
            raise unknown_name("figure", name, FIGURES)
    known = dict.fromkeys(method for one in results for method in one.figures)
    for method in methods or ():
        if method not in known:
            raise unknown_name(f"method in {', '.join(one.name for one in results)}", method, known)
