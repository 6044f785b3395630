"""``retrieval-explain search``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.options import Neighborhood


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

    from retrieval_explain.cli.search import run

    run(
        query=query,
        bank=bank,
        k=k,
        box=box,
        classes=classes,
        ids=ids,
        leave_self_out=leave_self_out,
        index=index,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        out=out,
    )
