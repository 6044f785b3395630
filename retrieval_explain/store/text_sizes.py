"""How much text a table of rows may hold: a few kilobytes of a Parquet file can stand for gigabytes of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from episodes.errors import TooLarge
from retrieval_explain.store.versions import REPAIR

LONGEST = 1 << 15  # bytes of one label or path
A_ROW = 1 << 10  # bytes of text that each row may add to
AT_LEAST = 1 << 26  # what any file may hold
LOOKED_INTO = 1_000_000  # rows; in larger files the texts themselves are not measured before they are read


def check_sizes(path: Path, metadata: pq.FileMetaData, columns: Sequence[str]) -> None:
    """Refuse a file by what its footer says of these columns. Raises: ``ValueError``."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    told = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
    if told > AT_LEAST + A_ROW * metadata.num_rows:
        raise _too_large(path, told, metadata.num_rows)


def read_measured(path: Path, file: pa.Buffer, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """Return columns of a file; texts that repeat are measured before they are written out.

    Raises: ``ValueError`` for a text or a column that is too long; whatever reading such a file raises.
    """
    metadata = pq.read_metadata(pa.BufferReader(file))
    check_sizes(path, metadata, columns)
    measured = [name for name in texts if name in columns] if metadata.num_rows <= LOOKED_INTO else []
    table = pq.read_table(pa.BufferReader(file), columns=list(columns), read_dictionary=measured)
    for name in measured:
        _check_texts(path, table[name], name)
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pa.string()))
    return table


def _check_texts(path: Path, column: pa.ChunkedArray, name: str) -> None:
    """Refuse encoded texts of which one, or all together, are too long. Raises: ``ValueError``."""
    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).to_numpy(zero_copy_only=False)
        if len(lengths) and lengths.max() > LONGEST:
            raise TooLarge(
                f"expected at most {LONGEST} bytes in each {name} of {path}, but got {lengths.max()}; {REPAIR}."
            )
        places = chunk.indices.drop_null().to_numpy(zero_copy_only=False)
        total += int(lengths[places].sum(dtype=np.int64))
    if total > AT_LEAST + A_ROW * len(column):
        raise _too_large(path, total, len(column))


def _too_large(path: Path, size: int, rows: int) -> TooLarge:
    return TooLarge(
        f"expected at most {AT_LEAST + A_ROW * rows} bytes of text in {rows} rows of {path}, but got {size}; {REPAIR}."
    )
