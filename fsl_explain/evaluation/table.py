"""A table of text: ready for a terminal, a page or a paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from episodes.errors import Mistake


@dataclass(frozen=True)
class Table:
    """Rows of text; the first ``names`` columns name the row, the others are aligned right as numbers are.

    ``title`` says what the table is of. Each of ``rows`` is as long as ``columns``, which are headings. ``notes`` are
    sentences below the table, ``bold`` the row and column, from 0, of each entry that a test singled out.

    Raises: ``ValueError`` for a row whose length is not that of ``columns``.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    bold: frozenset[tuple[int, int]] = frozenset()
    names: int = 1

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise Mistake(
                    f"expected {len(self.columns)} entries in each row of the table {self.title!r}, "
                    f"but row {number} has {len(row)}; fill the row."
                )
