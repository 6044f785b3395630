"""What is on the screen as files: the self-contained page of an inspection, numbers as NumPy arrays, and JSON."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fsl_explain.classifiers import Vote
from fsl_explain.report import Page
from retrieval_explain.inspection.inspected import inspect_neighbors
from retrieval_explain.inspection.page import write_inspection
from retrieval_explain.inspection.query_region import cut_region
from retrieval_explain.serve.queries import Asked, Queries
from retrieval_explain.serve.served_bank import ServedBank
from retrieval_explain.serve.why_answer import Wanted, explained, shown

MOST_EXPLAINED = 10


def page_of(served: ServedBank, queries: Queries, search: Asked, rule: Vote, explained_neighbors: int) -> str:
    """Return the page that ``retrieval-explain inspect`` writes for this query."""
    retrieved = queries.retrieved(served, search)
    found = inspect_neighbors(
        retrieved, rule=rule, explained=max(1, min(explained_neighbors, MOST_EXPLAINED)), gallery=search.k
    )
    photograph = queries.photograph(search.query)
    region = photograph if search.box is None else cut_region(photograph, search.box)
    page = Page(
        title=f"Why did these come back for {queries.words(search)}?",
        facts={
            "Bank": f"{len(served.bank)} images",
            "Encoder": served.bank.encoder or served.encoder.description,
            "Vote": f"{len(retrieved.neighbors.indices)} neighbors, {rule.words}",
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inspection.html"
        write_inspection(found, page, region, path)
        return path.read_text(encoding="utf-8")


def arrays_of(served: ServedBank, queries: Queries, search: Asked, wanted: Wanted) -> bytes:
    """Return the numbers of an explanation as one ``.npz`` file, by their public names."""
    explanation, rows, _ = explained(served, queries, search, wanted)
    written = io.BytesIO()
    ids = np.asarray([int(served.bank.ids[row]) for row in rows])
    np.savez_compressed(written, allow_pickle=False, support_ids=ids, **explanation.to_numpy())
    return written.getvalue()


def json_of(served: ServedBank, queries: Queries, search: Asked, wanted: Wanted) -> str:
    """Return the same explanation as plain JSON, arrays as nested lists."""
    explanation, rows, notes = explained(served, queries, search, wanted)
    laid: dict[str, Any] = shown(served, search, explanation, rows, wanted, notes)
    numbers = {name: _plain(value) for name, value in explanation.to_numpy().items() if "image" not in name}
    kept = ("title", "sentence", "method", "score", "target", "against", "receipt", "notes", "call")
    return json.dumps({**{name: laid[name] for name in kept}, "numbers": numbers}, allow_nan=False)


def _plain(values: np.ndarray) -> Any:
    """Return nested lists with None for what is not a finite number."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return np.where(np.isfinite(values), values.astype(object), None).tolist()  # type: ignore[call-overload]
    return values.tolist()
