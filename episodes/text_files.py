"""Text files and tables of other people: every fault in one is a sentence with the file's name and line."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from episodes.errors import Mistake, TooLarge
from episodes.files import open_regular, read_regular
from episodes.naming import unknown_name

MOST_BYTES = 1 << 28
"""Of a text file; the largest official list, of ImageNet's validation images, has 2.5 MiB."""
MOST_OF_A_LINE = 1 << 24
MARK = "\ufeff"


def read_text(path: Path, what: str = "text file", most: int = MOST_BYTES) -> str:
    """Return a file's UTF-8 text without its byte order mark; ``what`` says what was expected.

    Raises:
        FileNotFoundError: there is no such file.
        MemoryError: it has more than ``most`` bytes.
        ValueError: it is a folder or a device, no UTF-8 text, or holds the character NUL.
    """
    return _decoded(read_regular(path, what=what, limit=most), path, what).removeprefix(MARK)


def read_lines(path: Path, what: str = "text file") -> list[str]:
    r"""Return the lines of a file, which end in \n, \r\n or \r and nothing else. Errors as ``read_text``."""
    lines = read_text(path, what).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_rows(path: Path, what: str = "table") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, each with the number of its last line; empty lines are left out.

    Raises: as ``read_text``, and ``ValueError`` for what is no CSV, such as a quote that is never closed.
    """
    with open_regular(path, what=what) as file:
        lines = csv.reader(_decoded_lines(file, path, what), strict=True)
        while True:
            try:
                row = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                raise Mistake(
                    f"expected a {what} in CSV, but {path}, line {lines.line_num}, is none ({error}); correct the line."
                ) from None
            if row:
                yield lines.line_num, row


def read_table(path: Path, columns: Sequence[str], what: str = "table") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below the heading of a CSV file as texts by column, each with the number of its last line.

    An entry that a short row lacks is empty.

    Raises: as ``read_rows``; ``LookupError`` for a column that is not there; ``ValueError`` for a column that stands
    twice, and for a row with more entries than there are columns.
    """
    rows = read_rows(path, what)
    _, heading = next(rows, (0, []))
    for column in columns:
        if column not in heading:
            raise unknown_name(f"column of {path}", column, heading)
        if heading.count(column) > 1:
            raise Mistake(f"expected the column {column} of {path} once, but it stands twice; rename or drop one.")
    for line, row in rows:
        if any(row[len(heading) :]):
            raise Mistake(
                f"{path}, line {line}: expected {len(heading)} entries, but got {len(row)}; correct the line."
            )
        yield line, dict(zip(heading, row + [""] * (len(heading) - len(row)), strict=False))


def _decoded_lines(file: BinaryIO, path: Path, what: str) -> Iterator[str]:
    """Yield the lines of a file as they end, decoded one by one, so that a large one takes no more than a line."""
    number = 0
    while content := file.readline(MOST_OF_A_LINE):
        if len(content) == MOST_OF_A_LINE:
            raise TooLarge(f"expected a {what}, but {path}, line {number + 1}, has more than {len(content):,} bytes.")
        text = _decoded(content, path, what, number + 1)
        for line in io.StringIO(text.removeprefix(MARK) if number == 0 else text, newline=""):
            number += 1
            yield line


def _decoded(content: bytes, path: Path, what: str, first: int = 1) -> str:
    """Return the text of bytes that begin in line ``first``."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first + content.count(b"\n", 0, error.start)
        raise Mistake(
            f"expected a {what}, but {path} is no UTF-8 text: line {line} holds the byte "
            f"0x{content[error.start]:02x}; save it as UTF-8."
        ) from error
    if "\0" in text:
        line = first + text.count("\n", 0, text.index("\0"))
        raise Mistake(f"expected a {what}, but {path}, line {line}, holds the character NUL; restore the file.")
    return text
