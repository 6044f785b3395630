"""The rows of a bank: which embeddings may enter it, and their ids, labels, paths and contents."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int64, Shaped

from episodes.errors import Mistake
from fsl_explain.similarities import SIMILARITIES, Traits, named_similarity, traits_of
from retrieval_explain.store.given_labels import LARGEST, SMALLEST
from retrieval_explain.store.manifest import NUMBERS
from retrieval_explain.store.text_sizes import LONGEST

SCHEMA = pa.schema([("id", pa.int64()), ("label", pa.string()), ("path", pa.string()), ("content", pa.string())])
Texts = Sequence[str | None] | Sequence[str] | None


def stored_embeddings(
    embeddings: Shaped[np.ndarray, "*shape"], channels: int, dtype: str
) -> Float[np.ndarray, "row channel"]:
    """Return embeddings in the type in which the bank stores them.

    Raises: ``ValueError`` when they are not a matrix of as many channels as the bank has.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != channels:
        raise Mistake(
            f"expected embeddings of shape (rows, {channels}), but got {embeddings.shape}; "
            "use the encoder that the bank was built with."
        )
    if embeddings.dtype.kind not in "fiu":
        raise Mistake(f"expected embeddings that are real numbers, but got {embeddings.dtype}.")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(embeddings, dtype=np.dtype(dtype))


def without_similarity(
    stored: Float[np.ndarray, "row channel"], similarity: str
) -> tuple[Bool[np.ndarray, "row"], str]:
    """Return which rows no search could rank, and what they are: NaN, infinity and, for the cosine and its like, zero.

    The check is of the numbers as stored: zero is a row whose every number is, or those of one scale. A similarity that
    has no name here may have one for zero.
    """
    traits = traits_of(named_similarity(similarity)) if similarity in SIMILARITIES else Traits()
    count = 1 if stored.shape[1] % traits.parts else traits.parts
    parts = stored.reshape(len(stored), count, stored.shape[1] // count)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = np.einsum("rpc,rpc->rp", parts, parts, dtype=np.float32, casting="same_kind")
    zero_has_none = traits.zero_has_none
    # all that may be wrong, in one pass; few are looked at again
    wrong: np.ndarray = (~np.isfinite(squared) | (squared == 0)).any(axis=1)
    looked_at = parts[wrong]
    zero = (looked_at == 0).all(axis=2).any(axis=1)
    wrong[wrong] = ~np.isfinite(looked_at).all(axis=(1, 2)) | (zero_has_none & zero)
    return (
        wrong,
        f"{'zero or ' if zero_has_none else ''}not finite{' in float16' if stored.dtype == np.float16 else ''}",
    )


def check_embeddings(stored: Float[np.ndarray, "row channel"], similarity: str, table: pa.Table) -> None:
    """Refuse rows that ``without_similarity`` finds. Raises: ``ValueError`` naming the first, and their number."""
    wrong, what = without_similarity(stored, similarity)
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    name = table["path"][first].as_py() or f"id {table['id'][first].as_py()}"
    raise Mistake(
        f"{int(wrong.sum())} of {len(stored)} embeddings are {what}, first {name}. "
        f"They have no {similarity} similarity; fix or drop these images before building the bank."
    )


def check_labels(table: pa.Table, kind: str) -> None:
    """Refuse labels that are names where those of the bank are numbers. Raises: ``ValueError`` naming the first."""
    if kind != NUMBERS:
        return
    labels = table["label"]
    sure = pc.match_substring_regex(labels, r"^-?[0-9]{1,18}$").fill_null(True)  # of 64 bits, whatever the digits are
    for label in labels.filter(pc.invert(sure)).unique().to_pylist():
        if not re.fullmatch(r"-?[0-9]{19}", label) or not SMALLEST <= int(label) <= LARGEST:
            raise Mistake(
                "expected labels that are whole numbers, as those of the bank are, "
                f"but got {label!r:.80}; give its number."
            )


def rows_table(
    count: int, ids: Int64[np.ndarray, "row"], labels: Texts, paths: Texts, contents: Texts = None
) -> pa.Table:
    """Return the table of ``count`` rows; labels, paths and contents that are not given are null.

    Raises: ``ValueError`` when a column has another length, or a text is no Unicode.
    """
    columns = {"id": pa.array(ids)} | {
        name: _texts(name, given, count) for name, given in (("label", labels), ("path", paths), ("content", contents))
    }
    for name, column in columns.items():
        if len(column) != count:
            raise Mistake(f"expected one {name} for each of {count} embeddings, but got {len(column)}.")
    return pa.table(columns, schema=SCHEMA)


def with_contents(table: pa.Table) -> pa.Table:
    """Return a table of rows with the column ``content``, null where an older version of the software wrote none."""
    if "content" not in table.column_names:
        table = table.append_column("content", pa.nulls(len(table), pa.string()))
    return table


def _texts(name: str, given: Texts, count: int) -> pa.Array:
    if given is None:
        return pa.nulls(count, pa.string())
    texts = [None if text is None else str(text) for text in given]
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError as error:
        raise Mistake(f"the {name} {error.object!r} is no Unicode text; rename it.") from error
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest > LONGEST:
        raise Mistake(f"expected at most {LONGEST} bytes in each {name}, but one has {longest}; shorten it.")
    return column


def whole_ids(ids: Sequence[int] | Shaped[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Return ids as int64. Raises: ``ValueError`` when they are not whole numbers in its range."""
    try:
        values = np.asarray(ids)
        if len(values) and (values.ndim != 1 or values.dtype.kind not in "iu" or values.max() > np.iinfo(np.int64).max):
            raise OverflowError
    except (OverflowError, TypeError, ValueError):
        told = "expected ids that are whole numbers of 64 bits, one for each embedding"
        raise Mistake(f"{told}, but got {ids!r:.60}; give a list.") from None
    return values.astype(np.int64)


class SeenIds:
    """The ids that are taken, in sorted runs that double in size, so that ten million cost 80 MB."""

    def __init__(self) -> None:
        self._runs: list[Int64[np.ndarray, "id"]] = []
        self.next_id: int = 0

    def add(self, ids: Int64[np.ndarray, "row"]) -> None:
        """Take these ids. Raises: ``ValueError`` naming the first that is taken already; then none is."""
        run = np.sort(ids)
        repeated = run[1:][run[1:] == run[:-1]]
        for taken in self._runs:
            place = np.minimum(np.searchsorted(taken, run), len(taken) - 1)
            repeated = np.concatenate([repeated, run[taken[place] == run]])
        if len(repeated):
            raise Mistake(
                f"every id may stand once, but {len(np.unique(repeated))} of {len(ids)} are taken, "
                f"first {repeated.min()}; give each image an id of its own."
            )
        if len(run) == 0:
            return
        self.next_id = max(self.next_id, int(run[-1]) + 1)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


def write_rows(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of rows one behind the other into one Parquet file."""
    with path.open("wb") as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
