"""The table of a bank's rows as it is read: by whomever it was written, it has one row for each embedding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from episodes.errors import Mistake
from retrieval_explain.store.bank_rows import SCHEMA, check_labels, with_contents
from retrieval_explain.store.manifest import NUMBERS
from retrieval_explain.store.text_sizes import read_measured
from retrieval_explain.store.versions import REPAIR

LATER = {"content"}  # columns that banks of older versions of the software do not have


def check_rows_file(path: Path, data: Any, rows: int) -> None:
    """Refuse a file of rows by its footer alone. Raises: ``ValueError`` for other columns or another number of rows."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(data)))
        schema = metadata.schema.to_arrow_schema()
    except Exception as error:  # a footer of hostile bytes raises nearly anything
        raise _no_table(path, error) from error
    for field in SCHEMA:
        count = schema.names.count(field.name)
        if count > 1 or (count == 0 and field.name not in LATER):
            raise Mistake(f"expected one column {field.name} in {path}, but it has {count}; {REPAIR}.")
        if count and schema.field(field.name).type != field.type:
            raise Mistake(
                f"expected the column {field.name} of {path} to be {field.type}, "
                f"but it is {schema.field(field.name).type}; {REPAIR}."
            )
    if metadata.num_rows != rows:
        raise Mistake(f"expected {rows} rows in {path}, one for each embedding, but got {metadata.num_rows}; {REPAIR}.")


def read_rows(path: Path, data: Any, columns: Sequence[str] | None, labels: str) -> pa.Table:
    """Return columns of a file of rows, or all; ``labels`` says whether labels are names or numbers.

    Raises: ``ValueError`` for a file that is no Parquet, text that is no Unicode, an id that is missing or stands
    twice, or a name where labels are numbers.
    """
    wanted = SCHEMA.names if columns is None else list(columns)
    try:
        file = pa.py_buffer(data)
        there = set(pq.read_schema(pa.BufferReader(file)).names)
        texts = [name for name in SCHEMA.names if name != "id"]
        table = read_measured(path, file, [name for name in wanted if name in there], texts)
        table.validate(full=True)
    except Mistake:
        raise
    except Exception as error:  # so do pages of hostile bytes
        raise _no_table(path, error) from error
    if "content" in wanted:
        table = with_contents(table)
    table = table.select(wanted)
    if "id" in wanted:
        _check_ids(path, table["id"])
    if "label" in wanted and labels == NUMBERS:
        check_labels(table, labels)
    return table.replace_schema_metadata(None)


def _check_ids(path: Path, ids: pa.ChunkedArray) -> None:
    if ids.null_count:
        raise Mistake(f"expected an id for each row of {path}, but {ids.null_count} have none; {REPAIR}.")
    values, counts = np.unique(ids.to_numpy(), return_counts=True)
    if len(values) < len(ids):
        raise Mistake(f"every id may stand once, but {path} has {values[counts > 1][0]} more than once; {REPAIR}.")


def _no_table(path: Path, error: Exception) -> Mistake:
    said = str(error).splitlines()
    return Mistake(
        f"expected a Parquet table of rows, but {path} cannot be read ({said[0] if said else error!r}); {REPAIR}."
    )
