"""``retrieval-explain inspect``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from episodes.errors import Mistake
from fsl_explain.classifiers import KnnVote, MajorityVote, named_rule
from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.options import Neighborhood


def inspect(
    query: Path,
    *,
    bank: Path,
    out: Path = Path("inspection.html"),
    k: Neighborhood | None = None,
    rule: str = "knn-vote",
    temperature: float | None = None,
    explained: int = 5,
    gallery: int = 20,
    box: tuple[float, float, float, float] | None = None,
    classes: Annotated[tuple[str, ...], Parameter(name="--class", negative="")] = (),
    ids: Annotated[tuple[int, ...], Parameter(name="--id", negative="")] = (),
    leave_self_out: bool = False,
    index: str | None = None,
    encoder: str = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: str | None = None,
) -> None:
    """Explain why images of a bank came back for a query: regions that met, channels, the vote and its receipt.

    Prints the neighbors and the vote, and writes a page with the maps.

    Parameters
    ----------
    query
        The image to search for.
    bank
        The folder of the bank.
    out
        The HTML page to write.
    k
        Neighbors that vote; 200, or all where there are fewer, by default.
    rule
        knn-vote or majority-vote.
    temperature
        Of the weighted vote; 0.07 by default.
    explained
        How many of the first neighbors are explained one by one.
    gallery
        How many neighbors are shown.
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
    """
    vote = named_rule(rule, k, temperature)
    if not isinstance(vote, KnnVote | MajorityVote):
        raise Mistake(f"expected a vote of the neighbors, knn-vote or majority-vote, but got {rule}.")
    check_output_file(out)

    from retrieval_explain.cli.inspect import run

    run(
        query=query,
        bank=bank,
        out=out,
        k=k,
        vote=vote,
        explained=explained,
        gallery=gallery,
        box=box,
        classes=classes,
        ids=ids,
        leave_self_out=leave_self_out,
        index=index,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
    )
