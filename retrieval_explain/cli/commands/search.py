"""``retrieval-explain search``."""

from pathlib import Path

from fsl_explain.cli.manners import check_input, check_output_file
from fsl_explain.cli.options import EncoderName, Neighborhood, PoolingName, ReadoutName, ScalesText
from retrieval_explain.cli.options import (
    Banks,
    Box,
    BoxFormatName,
    Classes,
    Ids,
    IndexName,
    LocalRuleName,
    Prompts,
    check_bank,
)
from retrieval_explain.cli.query_options import check_asked, check_first
from retrieval_explain.cli.written_neighbors import check_ending


def search(
    query: Path | None = None,
    *,
    bank: Banks,
    text: Prompts = (),
    k: Neighborhood = 10,
    box: Box = None,
    box_format: BoxFormatName = "xyxy",
    classes: Classes = (),
    ids: Ids = (),
    leave_self_out: bool = False,
    index: IndexName = None,
    rerank: LocalRuleName = None,
    first: int | None = None,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    out: Path | None = None,
) -> None:
    """List the images of a bank that are most similar to a query image, to a region of it, or to a text.

    Parameters
    ----------
    query
        The image to search for.
    bank
        The folder of the bank, or milvus://host:port/collection; folders may be repeated, and are searched as one.
    text
        Search for what a text says, such as "a red bird", in place of an image; for an encoder of images and texts.
        Repeated, the prompts say one thing: their embeddings are averaged.
    k
        How many neighbors.
    box
        Search for a region of the query: x1 y1 x2 y2 in its pixels, or as --box-format says.
    classes
        Search among this class only; may be repeated.
    ids
        Search among the images with these ids only; may be repeated.
    leave_self_out
        Leave the query's own file out.
    index
        Search through hnsw, ivf or ivf-pq, whose measured recall is said; without one the search is exact.
    rerank
        Put the first neighbors in the order of max-sim, dn4, deep-emd or frn, which compare cells; the bank needs its
        local features.
    first
        How many are put in that order; 200, or all where there are fewer, by default.
    checkpoint
        Its weights.
    out
        Also write the neighbors to this file, which ends in .json, .csv or .parquet.

    Examples
    --------
    retrieval-explain search query.jpg --bank birds.bank -k 10
    retrieval-explain search --text "a red bird" --bank birds.bank --encoder open_clip:ViT-B-32/clip.safetensors
    """
    check_output_file(out)
    check_ending(out)
    for place in bank:
        check_bank(place)
    check_asked(query, text, {"--box": box, "--leave-self-out": leave_self_out, "--rerank": rerank})
    check_first(rerank, first, k)
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")

    from retrieval_explain.cli.search import run

    run(
        query=query,
        text=text,
        bank=bank,
        k=k,
        box=box,
        box_format=box_format,
        classes=classes,
        ids=ids,
        leave_self_out=leave_self_out,
        index=index,
        rerank=rerank,
        first=first,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        readout=readout,
        scales=scales,
        out=out,
    )
