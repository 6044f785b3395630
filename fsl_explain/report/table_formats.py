"""A table as Markdown, LaTeX or a page."""

import re
from collections.abc import Callable, Sequence

from fsl_explain.evaluation import Table
from fsl_explain.report.html import render_page
from fsl_explain.report.page import Page

TableFormat = Callable[[Sequence[Table]], str]
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "–": "--",
}


MARKDOWN = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#|\w+;)")
"""What Markdown would read in a name: code, emphasis, links, tags, cells, mathematics and named characters."""


def as_markdown(tables: Sequence[Table]) -> str:
    """Return tables as GitHub's Markdown, each under its title and above its notes."""
    return "\n\n".join(_markdown(table) for table in tables) + "\n"


def as_latex(tables: Sequence[Table]) -> str:
    """Return tables as LaTeX, for the package booktabs; the notes are comments."""
    return "\n\n".join(_latex(table) for table in tables) + "\n"


def as_html(tables: Sequence[Table]) -> str:
    """Return tables as one page."""
    return render_page(Page(title=tables[0].title if len(tables) == 1 else "Measurements", tables=tables))


def _plain(text: str) -> str:
    return MARKDOWN.sub(r"\\\g<0>", " ".join(text.splitlines()))


def _markdown(table: Table) -> str:
    def line(entries: Sequence[str]) -> str:
        return f"| {' | '.join(entries)} |"

    rows = [
        line([_marked(table, number, place, "**{}**") for place in range(len(row))])
        for number, row in enumerate(table.rows)
    ]
    ruler = line([*["---"] * table.names, *["---:"] * (len(table.columns) - table.names)])
    head = [f"**{_plain(table.title)}**", "", line([_plain(column) for column in table.columns]), ruler]
    return "\n".join([*head, *rows, *(f"\n{_plain(note)}" for note in table.notes)])


def _marked(table: Table, row: int, column: int, mark: str) -> str:
    entry = _plain(table.rows[row][column])
    return mark.format(entry) if (row, column) in table.bold else entry


def _latex(table: Table) -> str:
    def line(entries: Sequence[str]) -> str:
        return f"{' & '.join(entries)} \\\\"

    rows = [
        line(
            [
                rf"\textbf{{{_escaped(entry)}}}" if (number, place) in table.bold else _escaped(entry)
                for place, entry in enumerate(row)
            ]
        )
        for number, row in enumerate(table.rows)
    ]
    return "\n".join(
        [
            *(f"% {' '.join(note.splitlines())}" for note in table.notes),
            r"\begin{table}",
            rf"\caption{{{_escaped(table.title)}}}",
            rf"\begin{{tabular}}{{{'l' * table.names}{'r' * (len(table.columns) - table.names)}}}",
            r"\toprule",
            line([_escaped(column) for column in table.columns]),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in " ".join(text.splitlines()))
