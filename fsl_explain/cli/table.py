"""``fsl-explain table``."""

from collections.abc import Sequence
from pathlib import Path

from fsl_explain.cli.progress import note, show_table
from fsl_explain.evaluation.results.read_back import read_results
from fsl_explain.evaluation.tables.paired_table import comparison_table, difference_table
from fsl_explain.files import written_aside
from fsl_explain.registries import TABLE_FORMATS


def run(
    results: Sequence[Path],
    figures: Sequence[str],
    methods: Sequence[str] | None,
    against: str | None,
    format_: str | None,
    title: str,
    out: Path | None,
) -> None:
    """Read the results back and lay them out; without a format they are printed to the terminal."""
    stored = [one for folder in results for one in read_results(folder)]
    tables = [comparison_table(title, stored, figures, methods)]
    if against is not None:
        tables += [difference_table(one, figures, against) for one in stored]
    if format_ is None:
        for one in tables:
            show_table(one)
        return
    text = TABLE_FORMATS[format_](tables)
    if out is None:
        print(text, end="")
        return
    with written_aside(out) as aside:
        aside.write_text(text, encoding="utf-8")
    note(f"Table: {out}")
