"""``retrieval-explain search``."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.progress import show_table
from fsl_explain.evaluation import Table
from retrieval_explain.cli.opened import (
    UNKNOWN,
    Neighborhood,
    labels_given,
    open_bank_for,
    open_query,
    own_rows,
    write_json,
)
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors


def search(
    query: Path,
    *,
    bank: Path,
    k: Neighborhood = 10,
    box: tuple[float, float, float, float] | None = None,
    classes: Annotated[tuple[str, ...], Parameter(name="--class", negative="")] = (),
    ids: Annotated[tuple[int, ...], Parameter(name="--id", negative="")] = (),
    leave_self_out: bool = False,
    index: str | None = None,
    encoder: str = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: str | None = None,
    out: Path | None = None,
) -> None:
    """List the images of a bank that are most similar to a query image, or to a region of it.

    Parameters
    ----------
    query
        The image to search for.
    bank
        The folder of the bank.
    k
        How many neighbors.
    box
        Search for the region x1 y1 x2 y2 of the query, in its pixels.
    classes
        Search among this class only; may be repeated.
    ids
        Search among the images with these ids only; may be repeated.
    leave_self_out
        Leave the query's own file out.
    index
        Search through hnsw, ivf or ivf-pq, whose measured recall is said; without one the search is exact.
    encoder
        The encoder that made the bank, by its name or torchvision:NAME.
    checkpoint
        Its weights.
    pooling
        Its pooling: gap, gmp, lse or gem; that of its paper unless given.
    out
        Also write the neighbors to this JSON file.
    """
    check_output_file(out)
    opened, network = open_bank_for(bank, encoder, checkpoint, pooling, index, k)
    asked = open_query(query, network, box)
    embedding, among = network(asked.image[None]).embedding, labels_given(opened, classes)
    found = opened.search(embedding, k, classes=among, ids=ids or None)[0]
    own = own_rows(opened, found.indices.tolist(), query) if leave_self_out else None
    if own is not None:
        found = opened.search(embedding, k, classes=among, ids=ids or None, without=own)[0]
    records = _records(opened, found)
    columns = ("rank", "similarity", "class", "id", "path")
    rows = tuple(tuple(_text(record[name]) for name in columns) for record in records)
    show_table(Table(f"Most similar to {asked.words}", columns, rows, ()))
    if out is not None:
        write_json({"query": str(query), "box": box, "neighbors": records}, out)


def _records(bank: MemoryBank, found: Neighbors) -> list[dict[str, Any]]:
    """Return one record for each neighbor; the class and the path are None where it has none."""
    labels, similarities = bank.labels[found.indices].tolist(), found.similarities.tolist()
    return [
        {
            "rank": place + 1,
            "similarity": similarities[place],
            "class": class_name(bank, labels[place]) if labels[place] >= 0 else None,
            "id": int(bank.ids[row]),
            "path": bank.paths[row] or None,
        }
        for place, row in enumerate(found.indices.tolist())
    ]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return UNKNOWN if value is None else str(value)
