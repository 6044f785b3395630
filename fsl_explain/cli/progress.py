"""Progress on stderr, and tables on stdout."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from fsl_explain.cli.terminal import note, say, shown
from fsl_explain.evaluation import Table

__all__ = ["note", "progress_bars", "say", "show_table", "with_bar"]

WIDE = 1000  # columns of a file or pipe
Made = TypeVar("Made")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage; the function takes the stage, the units done since its last call and all units."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(shown(stage), total=total)
            progress.update(tasks[stage], advance=done, total=total)

        yield report


def with_bar(stage: str, make: Callable[..., Made], each: Sequence[tuple[Any, ...]]) -> list[Made]:
    """Make something of each tuple of arguments, and show in a bar how many are done."""
    made = []
    with progress_bars() as report:
        report(stage, 0, len(each))
        for arguments in each:
            made.append(make(*arguments))
            report(stage, 1, len(each))
    return made


def show_table(table: Table) -> None:
    """Print a table and its notes to stdout; paths are folded where the terminal is narrow, and never cut."""
    console = Console(width=None if Console().is_terminal else WIDE, highlight=False)
    rich_table = RichTable(title=_text(table.title), title_justify="left")
    for position, column in enumerate(table.columns):
        is_path = column == "path"
        rich_table.add_column(
            _text(column),
            justify="left" if position < table.names or is_path else "right",
            no_wrap=not is_path,
            overflow="fold" if is_path else "ellipsis",
        )
    for row in table.rows:
        rich_table.add_row(*map(_text, row))
    console.print(rich_table)
    for sentence in table.notes:
        console.print(_text(sentence), soft_wrap=True)


def _text(text: str) -> Text:
    """Return what rich prints as it is: a plain string would be read as markup."""
    return Text(shown(text))
