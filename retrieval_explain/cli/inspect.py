"""``retrieval-explain inspect``."""

from pathlib import Path

from fsl_explain.cli.progress import note, say, show_table
from fsl_explain.evaluation import Table
from fsl_explain.report import Page
from retrieval_explain.bank_address import Address
from retrieval_explain.cli.bank_facts import bank_facts
from retrieval_explain.cli.opened import (
    UNKNOWN,
    Query,
    labels_given,
    neighbors_of,
    open_bank_for,
    open_query,
)
from retrieval_explain.cli.remarks import remarks
from retrieval_explain.cli.written_neighbors import write_json
from retrieval_explain.decisions.many_voters import many_voters
from retrieval_explain.inspection.expected import why_not_first
from retrieval_explain.inspection.inspected import Inspection, inspect_neighbors, named_vote
from retrieval_explain.inspection.page import verdict, write_inspection


def run(
    query: Path,
    bank: Path | Address,
    out: Path,
    expected: str | None,
    json: Path | None,
    k: int | None,
    rule: str,
    temperature: float | None,
    explained: int,
    gallery: int,
    box: tuple[float, float, float, float] | None,
    box_format: str,
    classes: tuple[str, ...],
    ids: tuple[int, ...],
    leave_self_out: bool,
    index: str | None,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    detail: int,
    biases: str,
) -> None:
    """Search, explain the first neighbors, print the vote and write the page."""
    vote = named_vote(rule, k, temperature)
    opened, network = open_bank_for(bank, encoder, checkpoint, pooling, readout, scales, index, k, detail, biases)
    asked = open_query(query, network, box, box_format)
    note(f"Searching {len(opened)} images for {asked.words} …")
    retrieved = neighbors_of(network, asked, opened, k, labels_given(opened, classes), ids, leave_self_out)
    found = inspect_neighbors(retrieved, rule=vote, explained=explained, gallery=gallery)
    awaited = None if expected is None else why_not_first(retrieved, expected, rule=vote)
    doubt = "" if found.vote is None else many_voters(opened, len(retrieved.neighbors.indices))
    if doubt:
        note(doubt)
    page = Page(
        title=f"Why did these come back for {asked.words}?",
        lead=_lead(found),
        facts={
            **bank_facts(opened, network),
            "Vote": f"{len(retrieved.neighbors.indices)} neighbors, {vote.words}",
        },
        notes=(doubt,) if doubt else (),
    )
    write_inspection(found, page, asked.region, out, expected=awaited)
    _print(found, asked)
    if awaited is not None:
        say(f"{awaited}\n", lines=True)
    if awaited is not None and json is not None:
        write_json({"query": query.name, "box": asked.box, **awaited.as_json()}, json)
    say(f"Page: {out}")


def _lead(found: Inspection) -> str:
    first = found.gallery[0]
    nearest = (
        f"The most similar image has similarity {first.similarity:.4f}{f', {first.label}' if first.label else ''}."
    )
    return nearest if found.vote is None else f"{nearest} {verdict(found.vote)}"


def _print(found: Inspection, asked: Query) -> None:
    columns = ("rank", "similarity", "class", "path")
    rows = tuple(
        (str(one.rank), f"{one.similarity:.6f}", one.label or UNKNOWN, one.path or UNKNOWN) for one in found.gallery
    )
    show_table(Table(f"Most similar to {asked.words}", columns, rows, remarks(found.gallery, found.pairs)))
    if found.vote is None:
        return
    main = next(iter(found.vote.explanations.values()))
    say(f"\n{verdict(found.vote)}\n\n{main.receipt()}\n", lines=True)
