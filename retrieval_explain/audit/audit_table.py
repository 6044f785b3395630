"""What an audit found, for people and for machines: a table of the likeliest mislabeled images, and all rows."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from fsl_explain.evaluation import Table
from retrieval_explain.audit.label_audit import Audit, Detection, NoisyLabels, detection
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.memory_bank import MemoryBank


@dataclass(frozen=True)
class Suspect:
    """One image whose label is in doubt."""

    rank: int  # from 1, the likeliest mislabeled
    row: int  # of the bank
    path: str
    label: str
    suggested: str  # what most of its neighbors are labeled
    support: float  # the share of them that is
    agreement: float  # the share that has its own label
    value: float
    worth: float
    flipped: bool  # on purpose
    neighbors: tuple[int, ...]  # rows of the bank, nearest first


def suspects(bank: MemoryBank, found: Audit, top: int, noise: NoisyLabels | None = None) -> tuple[Suspect, ...]:
    """Return the likeliest mislabeled images, as many as asked for, or all where there are fewer."""
    return tuple(
        Suspect(
            rank=rank,
            row=int(found.rows[image]),
            path=bank.paths[int(found.rows[image])],
            label=class_name(bank, int(found.labels[image])),
            suggested=class_name(bank, int(found.suggested[image])),
            support=float(found.support[image]),
            agreement=float(found.agreement[image]),
            value=float(found.values[image]),
            worth=float(found.worth[image]),
            flipped=noise is not None and bool(noise.is_flipped[found.rows[image]]),
            neighbors=tuple(found.neighbors.indices[image].tolist()),
        )
        for rank, image in enumerate(found.order[:top].tolist(), start=1)
    )


def detections(found: Audit, noise: NoisyLabels, seed: int) -> dict[str, Detection]:
    """Judge the order of the audit, and of either part alone, by the labels that were flipped."""
    orders = {"worth": found.worth, "KNN-Shapley value": found.values, "agreement": found.agreement}
    return {name: detection(worth, noise.is_flipped[found.rows], seed) for name, worth in orders.items()}


def audit_summary(
    bank: MemoryBank, found: Audit, doubted: tuple[Suspect, ...], judged: dict[str, Detection], flipped: int
) -> dict[str, Any]:
    """Return what is worth keeping of an audit: the bank, k, the likeliest mislabeled, and how flips were found."""
    listed = [{name: value for name, value in asdict(one).items() if name != "neighbors"} for one in doubted]
    summary = {
        "bank": {
            "images": len(bank),
            "labeled": len(found.rows),
            "channels": bank.rows.shape[1],
            "similarity": bank.similarity_words,
            "encoder": bank.encoder,
        },
        "k": found.k,
        "negative_values": int((found.values < 0).sum()),
        "mean_agreement": float(found.agreement.mean()),
        "likeliest_mislabeled": listed,
    }
    if judged:
        summary["flipped"] = {"images": flipped} | {name: asdict(one) for name, one in judged.items()}
    return summary


def suspects_table(found: Audit, doubted: tuple[Suspect, ...], title: str, flipped: bool) -> Table:
    """Lay the likeliest mislabeled images out, one a row."""
    folder = _common_folder(doubted)
    columns = ("image", "label", "most neighbors say", "value", "worth")
    rows = tuple(
        (
            _shortened(_below(one.path, folder), 44) or f"row {one.row}",
            _shortened(one.label, 24),
            f"{_shortened(one.suggested, 24)} ({100 * one.support:.0f} %)",
            f"{len(found.values) * one.value:+.3f}",
            f"{one.worth:+.3f}",
            *((("yes" if one.flipped else "no"),) if flipped else ()),
        )
        for one in doubted
    )
    notes = (
        f"{len(found.values)} labeled images, each beside its {found.k} nearest others. Least worth first."
        + (f" Images are below {folder}." if folder else ""),
        f"Worth is what a label adds to the share of matches among the {found.k} nearest, summed over all images: its "
        "KNN-Shapley value as a neighbor (shown times the number of images), and the share of its own neighbors that "
        "match.",
    )
    return Table(title, (*columns, "flipped") if flipped else columns, rows, notes)


def detection_table(judged: dict[str, Detection], noise: NoisyLabels, title: str) -> Table:
    """Lay out how well each order finds the labels that were flipped."""
    rows = tuple(
        (
            name,
            f"{one.average_precision:.3f}",
            f"{one.random_mean:.3f}",
            f"{one.random_low:.3f} to {one.random_high:.3f}",
        )
        for name, one in judged.items()
    )
    flipped = int(noise.is_flipped.sum())
    notes = (
        f"{flipped} labels were flipped in memory, and the audit was told nothing. Average precision is the area under "
        "the precision-recall curve of the order; random orders have about the share that was flipped.",
    )
    return Table(title, ("order by", "average precision", "random orders", "95 % of them"), rows, notes)


def audit_columns(bank: MemoryBank, found: Audit, noise: NoisyLabels | None) -> dict[str, np.ndarray | list[Any]]:
    """Return one row per labeled image of the bank, as columns of a table, in the bank's order."""
    rank = torch.empty(len(found.rows), dtype=torch.int64)
    rank[found.order] = torch.arange(1, len(found.rows) + 1)
    columns: dict[str, np.ndarray | list[Any]] = {
        "id": bank.ids[found.rows].numpy(),
        "path": [bank.paths[row] or None for row in found.rows.tolist()],
        "label": [class_name(bank, label) for label in found.labels.tolist()],
        "value": found.values.numpy(),
        "agreement": found.agreement.numpy(),
        "worth": found.worth.numpy(),
        "rank": rank.numpy(),
        "suggested_label": [class_name(bank, label) for label in found.suggested.tolist()],
        "support": found.support.numpy(),
    }
    return columns if noise is None else columns | {"flipped": noise.is_flipped[found.rows].numpy()}


def _common_folder(doubted: Sequence[Suspect]) -> str:
    """Return the folder that holds all of the files, or nothing where there is none."""
    folders = [str(PurePath(one.path).parent) for one in doubted if one.path]
    try:
        folder = os.path.commonpath(folders) if folders else ""
    except ValueError:  # absolute paths beside relative ones, or several drives
        return ""
    return "" if folder == "." else folder


def _shortened(text: str, length: int) -> str:
    """Keep the end of a long text, which tells files of one folder apart."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


def _below(path: str, folder: str) -> str:
    return str(PurePath(path).relative_to(folder)) if path and folder else path
