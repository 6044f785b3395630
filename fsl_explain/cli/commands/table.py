"""``fsl-explain table``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from episodes.errors import Mistake
from fsl_explain.cli.options import among, one_of
from fsl_explain.evaluation.figures import LAYOUTS
from fsl_explain.registries import TABLE_FORMATS

TEXT = "text"


def table(
    *results: Path,
    layout: Annotated[str, among("layout", LAYOUTS)] = "fam-3",
    methods: Annotated[tuple[str, ...], Parameter(name="--method", negative="")] = (),
    figures: Annotated[tuple[str, ...], Parameter(name="--figure", negative="")] = (),
    against: str | None = None,
    format_: Annotated[str, Parameter(name="--format"), one_of(TABLE_FORMATS, "{}.", TEXT)] = TEXT,
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
    title
        The title of the table.
    out
        Write to this file instead of the terminal.

    Examples
    --------
    fsl-explain table results/birds --layout fam-3 --method fam --method exact
    fsl-explain table results/birds results/pets --against lafam --format latex --out table.tex
    """
    if out is not None and (out.is_dir() or format_ == TEXT):
        raise Mistake(
            f"expected a file and a --format of {TABLE_FORMATS.listed()} with --out, but got {out}, {format_}."
        )
    if not results:
        raise Mistake("expected at least one folder of results, but got none; name what an evaluation wrote.")

    from fsl_explain.cli.table import run

    run(results, figures or LAYOUTS[layout], methods or None, against, None if format_ == TEXT else format_, title, out)
