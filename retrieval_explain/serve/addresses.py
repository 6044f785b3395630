"""The addresses of the app: each waits for its turn, calls one function and answers with what it returns."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from fsl_explain.explainers.compared import visible
from fsl_explain.serve.frame import download, picture
from fsl_explain.serve.pictures import from_tensor, webp
from fsl_explain.serve.told import as_lines
from retrieval_explain.serve.asking import Ballot, Bank, Corrections, Explained, Removed, Search, Work, vote_of
from retrieval_explain.serve.audit_answer import audit_answer, corrected
from retrieval_explain.serve.exports import arrays_of, json_of, page_of
from retrieval_explain.serve.search_answer import search_answer
from retrieval_explain.serve.votes_answer import votes_answer
from retrieval_explain.serve.why_answer import seen_address, why_answer
from retrieval_explain.serve.why_not_answer import removed_answer, why_not_answer

routes: APIRouter = APIRouter(prefix="/api/banks/{number}")


@routes.get("/images")
def images(
    bank: Bank,
    label: Annotated[str | None, Query(alias="class")] = None,
    find: str = "",
    offset: int = 0,
    limit: int = 60,
) -> dict[str, Any]:
    """List images of the bank, of one class or whose paths hold a text."""
    return bank.listed(label or None, find[:200], offset, limit)


@routes.get("/images/{image}/picture")
def photograph_of(bank: Bank, image: int, width: int = 320) -> Response:
    """Show a photograph of the bank."""
    return picture(*bank.picture_of(bank.row_of(image), width))


@routes.get("/images/{image}/seen")
def seen_image(bank: Bank, image: int) -> Response:
    """Show an image of the bank as the network sees it."""
    pixels = bank.encoder.preprocess([bank.photograph(bank.row_of(image))])[0]
    return picture(webp(from_tensor(visible(bank.encoder, pixels))))


@routes.get("/seen")
def seen(work: Work, bank: Bank, search: Search) -> Response:
    """Show the query as the network sees it."""
    return picture(work.queries.seen(bank, search))


@routes.get("/search")
def search(work: Work, bank: Bank, search: Search, rule: Ballot) -> dict[str, Any]:
    """Search, and let the neighbors vote."""
    with work.frame.turn():
        return search_answer(bank, work.queries, search, rule, seen_address(bank, search))


@routes.get("/why")
def why(work: Work, bank: Bank, search: Search, wanted: Explained) -> dict[str, Any]:
    """Explain why one image came back, or why rather than another."""
    with work.frame.turn():
        return why_answer(bank, work.queries, search, wanted)


@routes.get("/why-not")
def why_not(work: Work, bank: Bank, search: Search, rule: Ballot, expected: str) -> dict[str, Any]:
    """Say why an image or a class that was expected does not come first."""
    with work.frame.turn():
        return why_not_answer(bank, work.queries, search, expected, rule)


@routes.post("/removed")
def removed(work: Work, bank: Bank, given: Removed) -> dict[str, Any]:
    """Search again without squares of the query."""
    rule = vote_of(given.rule, given.temperature)
    with work.frame.turn():
        return removed_answer(bank, work.queries, given.search(bank), given.grid, given.cells, given.watch, rule)


@routes.get("/votes")
def votes(work: Work, bank: Bank, search: Search, rule: Ballot) -> dict[str, Any]:
    """Take the vote of the neighbors apart."""
    with work.frame.turn():
        return votes_answer(bank, work.queries, search, rule)


@routes.get("/audit")
def audit(work: Work, bank: Bank, k: int | None = None, top: int = 20) -> StreamingResponse:
    """List the likeliest mislabeled images; lines of JSON say how far it is, and the last one has the answer."""

    def lines() -> Iterator[str]:
        yield json.dumps({"progress": {"stage": "waiting", "done": work.frame.desk.waiting, "total": 0}}) + "\n"
        yield from as_lines(work.frame, lambda report: audit_answer(bank, k, top, report))

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@routes.post("/labels")
def labels(work: Work, bank: Bank, given: Corrections) -> dict[str, Any]:
    """Write corrected labels as a new version of the bank."""
    with work.frame.turn():
        return corrected(bank, given.version, [(one.id, one.label) for one in given.changes])


@routes.get("/export/page")
def export_page(work: Work, bank: Bank, search: Search, rule: Ballot, explained: int = 3) -> Response:
    """Return the self-contained page of an inspection."""
    with work.frame.turn():
        return download(page_of(bank, work.queries, search, rule, explained), "text/html", "inspection.html")


@routes.get("/export/json")
def export_json(work: Work, bank: Bank, search: Search, wanted: Explained) -> Response:
    """Return an explanation as JSON."""
    with work.frame.turn():
        return download(json_of(bank, work.queries, search, wanted), "application/json", "explanation.json")


@routes.get("/export/arrays")
def export_arrays(work: Work, bank: Bank, search: Search, wanted: Explained) -> Response:
    """Return an explanation as NumPy arrays."""
    with work.frame.turn():
        return download(arrays_of(bank, work.queries, search, wanted), "application/octet-stream", "explanation.npz")
