"""The likeliest mislabeled images with the neighbors that say so, and corrections written as a new version."""

import itertools
from collections.abc import Sequence
from typing import Any

from episodes.errors import Mistake
from fsl_explain.progress import Report, silent
from fsl_explain.serve.frame import OutOfDate
from retrieval_explain.audit.audit_table import Suspect, suspects
from retrieval_explain.audit.label_audit import audit
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.serve.served_bank import ServedBank

MOST_SUSPECTS = 200
MOST_CHANGES = 1000
LONGEST_LABEL = 300
SHOWN_NEIGHBORS = 6


def audit_answer(served: ServedBank, k: int | None, top: int, report: Report = silent) -> dict[str, Any]:
    """Audit all labels, and return the likeliest mislabeled. Raises: ``ValueError`` as ``audit``."""
    if not 1 <= top <= MOST_SUSPECTS:
        raise Mistake(f"expected 1 to {MOST_SUSPECTS} images to list, but got {top}.")
    report("comparing every image with every other", 0, len(served.bank))
    found = audit(served.bank, k)
    report("comparing every image with every other", len(served.bank), len(served.bank))
    return {
        "k": found.k,
        "images": len(found.rows),
        "suspects": [_suspect(served, one) for one in suspects(served.bank, found, top)],
        "version": served.version,
    }


def _suspect(served: ServedBank, one: Suspect) -> dict[str, Any]:
    return {
        **served.brief(one.row),
        "rank": one.rank,
        "suggested": one.suggested,
        "support": one.support,
        "agreement": one.agreement,
        "worth": one.worth,
        "value": one.value,
        "neighbors": [served.brief(row) for row in itertools.islice(one.neighbors, SHOWN_NEIGHBORS)],
    }


def corrected(served: ServedBank, version: str, changes: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Write other labels as a new version of the bank, if it is still the one that was audited.

    Raises: ``OutOfDate`` where it is not, and then the current one is served; ``LookupError`` for an unknown id;
    ``ValueError`` for labels that a bank cannot have, or an image that is named twice.
    """
    directory = served.bank.directory
    if directory is None:
        raise Mistake("expected a bank on disk to write labels to, but this one is in memory; save it first.")
    if not 0 < len(changes) <= MOST_CHANGES:
        raise Mistake(f"expected 1 to {MOST_CHANGES} labels to change, but got {len(changes)}.")
    if len({number for number, _ in changes}) < len(changes):
        raise Mistake("expected each image once among the changes, but one is named twice; keep one of them.")
    for number, label in changes:
        served.row_of(number)
        if not label.strip() or len(label) > LONGEST_LABEL or not label.isprintable():
            raise Mistake(f"expected a label of 1 to {LONGEST_LABEL} printable letters for the image with id {number}.")
    if version != served.version or not served.is_current:
        served.replace_by(MemoryBank.load(directory, similarity=served.bank.similarity))
        raise OutOfDate("the bank has changed since these labels were looked at; look at the audit again.")
    ids = [number for number, _ in changes]
    labels: list[Any] = [label for _, label in changes]
    if not served.bank.classes:
        labels = [_as_number(label) for label in labels]
    served.replace_by(served.bank.update(ids, labels=labels))
    count = "1 label" if len(changes) == 1 else f"{len(changes)} labels"
    return {
        "version": served.version,
        "changed": len(changes),
        "sentence": f"{count} changed. The bank is {served.version} now.",
    }


def _as_number(label: str) -> int:
    if not label.removeprefix("-").isdecimal() or len(label) > 18:
        raise Mistake(f"expected a number as a label, because those of the bank are numbers, but got {label!r:.80}.")
    return int(label)
