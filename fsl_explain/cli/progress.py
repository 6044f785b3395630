"""Progress on stderr, and tables on stdout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from fsl_explain.evaluation import Table

WIDE = 1000  # columns of a file or pipe


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage; the function takes the stage, the units done since its last call and all units."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], advance=done, total=total)

        yield report


def show_table(table: Table) -> None:
    """Print a table and its notes to stdout; paths are folded where the terminal is narrow, and never cut."""
    console = Console(width=None if Console().is_terminal else WIDE, highlight=False)
    rich_table = RichTable(title=table.title, title_justify="left")
    for position, column in enumerate(table.columns):
        is_path = column == "path"
        rich_table.add_column(
            column,
            justify="left" if position < table.names or is_path else "right",
            no_wrap=not is_path,
            overflow="fold" if is_path else "ellipsis",
        )
    for row in table.rows:
        rich_table.add_row(*row)
    console.print(rich_table)
    for note in table.notes:
        console.print(note, soft_wrap=True)


def note(sentence: str) -> None:
    """Say something on stderr."""
    Console(stderr=True, highlight=False).print(sentence, soft_wrap=True)
