"""``fsl-explain table``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.cli.progress import note, show_table
from fsl_explain.evaluation.figures import LAYOUTS
from fsl_explain.evaluation.results.read_back import read_results
from fsl_explain.evaluation.tables.paired_table import comparison_table, difference_table
from fsl_explain.report.table_formats import FORMATS

TEXT = "text"


def table(
    *results: Path,
    layout: str = "fam-3",
    methods: Annotated[tuple[str, ...], Parameter(name="--method", negative="")] = (),
    figures: Annotated[tuple[str, ...], Parameter(name="--figure", negative="")] = (),
    against: str | None = None,
    format_: Annotated[str, Parameter(name="--format")] = TEXT,
    title: str = "Measurements",
    out: Path | None = None,
) -> None:
    """Lay stored measurements out as the papers' tables, with intervals and paired differences.

    An entry is bold only where a paired bootstrap finds its method better than every other one of the same results,
    trivial maps included.

    Parameters
    ----------
    results
        Folders that evaluations wrote with --out, one model each.
    layout
        fam-1, fam-2, fam-3 or fam-4 (FAM Tables I to IV), or lafam (LaFAM Tables 1 and 2).
    methods
        Show this method, beside the trivial maps; may be repeated.
    figures
        Show this figure instead of the layout's, for example auc; may be repeated.
    against
        Add a table of each method's difference from this one, for example lafam.
    format_
        text, markdown, latex or html.
    title
        The title of the table.
    out
        Write to this file instead of the terminal.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if format_ not in (TEXT, *FORMATS):
        raise unknown_name("format", format_, (TEXT, *FORMATS))
    if out is not None and (out.is_dir() or format_ == TEXT):
        raise Mistake(
            f"expected a file and a --format of markdown, latex or html with --out, but got {out}, {format_}."
        )
    stored = [one for folder in results for one in read_results(folder)]
    if not stored:
        raise Mistake("expected at least one folder of results, but got none; name what an evaluation wrote.")
    shown = figures or LAYOUTS[layout]
    tables = [comparison_table(title, stored, shown, methods or None)]
    if against is not None:
        tables += [difference_table(one, shown, against) for one in stored]
    if format_ == TEXT:
        for one in tables:
            show_table(one)
        return
    text = FORMATS[format_](tables)
    if out is None:
        print(text, end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    note(f"Table: {out}")
