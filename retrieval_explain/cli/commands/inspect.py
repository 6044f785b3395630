"""``retrieval-explain inspect``."""

from pathlib import Path
from typing import Any

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_detail, check_input, check_output_file
from fsl_explain.cli.options import (
    BiasesName,
    Detail,
    EncoderName,
    Neighborhood,
    PoolingName,
    ReadoutName,
    ScalesText,
)
from fsl_explain.registries import NEIGHBOR_RULES
from retrieval_explain.bank_address import Address
from retrieval_explain.cli.options import (
    BankPlace,
    Box,
    BoxFormatName,
    Classes,
    Ids,
    IndexName,
    LocalRuleName,
    Prompts,
    VoteName,
    check_bank,
)
from retrieval_explain.cli.query_options import check_asked, check_first, check_not_of_votes


def inspect(
    query: Path | None = None,
    *,
    bank: BankPlace,
    text: Prompts = (),
    out: Path = Path("inspection.html"),
    expected: str | None = None,
    json: Path | None = None,
    k: Neighborhood | None = None,
    rule: VoteName = "knn-vote",
    temperature: float | None = None,
    explained: int = 5,
    gallery: int = 20,
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
    detail: Detail = 0,
    biases: BiasesName = "drawn",
) -> None:
    """Explain why images of a bank came back for a query: regions that met, channels, the vote and its receipt.

    Prints the neighbors and the vote, and writes a page with the maps. For a text there is no vote: each of the first
    images is explained with the text as its reference.

    Parameters
    ----------
    query
        The image to search for.
    bank
        The folder of the bank, or milvus://host:port/collection.
    text
        Search for what a text says, such as "a red bird", in place of an image; for an encoder of images and texts.
        Repeated, the prompts say one thing: their embeddings are averaged.
    out
        The HTML page to write.
    expected
        Say why this image, or the best one of this class, does not come back first, and what would have to change: a
        path, an id or a class of the bank. path:, id: or class: before it says which.
    json
        Write what is said of the expected image to this JSON file as well.
    k
        Neighbors that vote; 200, or all where there are fewer, by default.
    temperature
        Of the weighted vote; 0.07 by default.
    explained
        How many of the first neighbors are explained one by one.
    gallery
        How many neighbors are shown.
    box
        Search for a region of the query: x1 y1 x2 y2 in its pixels, or as --box-format says.
    classes
        Search among this class only; may be repeated.
    ids
        Search among the images with these ids only; may be repeated.
    leave_self_out
        Leave the query's own file out.
    index
        Search through flat, hnsw, ivf or ivf-pq, whose measured recall is said; without one the search is exact.
    rerank
        Explain the first neighbors in the order of max-sim, dn4, deep-emd or frn, which compare cells, in place of the
        vote; the bank needs its local features.
    first
        How many are put in that order; 200, or all where there are fewer, by default.
    checkpoint
        Its weights.

    Examples
    --------
    retrieval-explain inspect query.jpg --bank birds.bank --out page.html
    retrieval-explain inspect query.jpg --bank birds.bank --expected tern/7.jpg --json why.json
    """
    if temperature is not None and rule in NEIGHBOR_RULES and rule != "knn-vote":  # own rules say it when they are used
        raise Mistake(f"temperature belongs to the rule knn-vote, but the rule is {rule}; drop it.")
    if json is not None and expected is None:
        raise Mistake("expected an image or a class for the JSON file to be about, but got none; add --expected.")
    _check_files(out, json, bank, checkpoint)
    check_detail(detail, biases)
    of_images = {"--box": box, "--leave-self-out": leave_self_out, "--expected": expected, "--k": k}
    check_asked(query, text, {**of_images, "--temperature": temperature, "--rerank": rerank})
    check_first(rerank, first)
    of_votes = {"--expected": expected, "--k": k, "--temperature": temperature, "--detail": detail}
    check_not_of_votes(rerank, {**of_votes, "--rule": rule != "knn-vote"})

    made_by: dict[str, Any] = {"encoder": encoder, "checkpoint": checkpoint, "pooling": pooling, "readout": readout}
    made_by |= {"scales": scales, "detail": detail, "biases": biases}
    shown: dict[str, Any] = {"bank": bank, "out": out, "explained": explained, "gallery": gallery, "classes": classes}
    shown |= {"ids": ids, "index": index}
    if text:
        from retrieval_explain.cli.by_text import run as run_by_text

        run_by_text(text=text, **shown, **made_by)
        return

    assert query is not None
    of_image: dict[str, Any] = {"box": box, "box_format": box_format, "leave_self_out": leave_self_out}
    if rerank is not None:
        from retrieval_explain.cli.inspect_reranked import run as run_reranked

        made_by = {name: value for name, value in made_by.items() if name not in ("detail", "biases")}
        run_reranked(query=query, rerank=rerank, first=first, **of_image, **shown, **made_by)
        return

    from retrieval_explain.cli.inspect import run

    run(
        query=query,
        expected=expected,
        json=json,
        k=k,
        rule=rule,
        temperature=temperature,
        **of_image,
        **shown,
        **made_by,
    )


def _check_files(out: Path, json: Path | None, bank: Path | Address, checkpoint: Path | None) -> None:
    for written in (out, json):
        check_output_file(written)
    check_bank(bank)
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")
