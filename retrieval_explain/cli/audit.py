"""``retrieval-explain audit``."""

from pathlib import Path

from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.engine import EngineOptions
from fsl_explain.evaluation.results.written import write_tables
from fsl_explain.report import Page
from retrieval_explain.audit.audit_page import audit_page
from retrieval_explain.audit.audit_table import (
    audit_columns,
    audit_summary,
    detection_table,
    detections,
    suspects,
    suspects_table,
)
from retrieval_explain.audit.label_audit import audit as audit_bank
from retrieval_explain.audit.label_audit import inject_label_noise
from retrieval_explain.bank_address import Address
from retrieval_explain.memory_bank import MemoryBank


def run(
    bank: Path | Address,
    k: int | None,
    flip: float | None,
    seed: int,
    top: int,
    out: Path | None,
    engine: EngineOptions,
) -> None:
    """Value the labels, print the doubtful ones and write the results."""
    searched = MemoryBank.open(bank)
    noise = None if flip is None else inject_label_noise(searched.labels, flip, seed)
    with progress_bars() as report:
        found = audit_bank(searched, k, None if noise is None else noise.labels, engine=engine, report=report)
    doubted = suspects(searched, found, top, noise)
    judged = {} if noise is None else detections(found, noise, seed)
    tables = [suspects_table(found, doubted, f"{bank.name}: likeliest mislabeled", noise is not None)]
    if noise is not None:
        tables.append(detection_table(judged, noise, f"{bank.name}: flipped labels found"))
    for table in tables:
        show_table(table)
    if out is None:
        return
    summary = audit_summary(searched, found, doubted, judged, 0 if noise is None else int(noise.is_flipped.sum()))
    page = Page(
        title=f"Labels audited: {bank.name}",
        lead=f"{len(found.rows)} labeled images of {len(searched)}, "
        f"embedded by {searched.encoder or 'an unknown encoder'}.",
        facts={"Neighbors": str(found.k), "Similarity": searched.similarity_words}
        | ({} if flip is None else {"Labels flipped on purpose": f"{100 * flip:g} %, seed {seed}"}),
        tables=tables,
    )
    html = audit_page(searched, found, doubted, page)
    write_tables(out, summary, {"audit": audit_columns(searched, found, noise)}, {"index.html": html})
    note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")
