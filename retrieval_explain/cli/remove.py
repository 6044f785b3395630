"""``retrieval-explain remove``."""

import os
from pathlib import Path

import torch

from episodes.errors import Mistake
from fsl_explain.cli.progress import say
from retrieval_explain.bank_address import Address
from retrieval_explain.cli.opened import labels_given
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.store.row_filter import allowed_rows


def run(bank: Path | Address, ids: tuple[int, ...], classes: tuple[str, ...], missing: bool) -> None:
    """Remove what any of the three names, and say how many images are left."""
    opened = MemoryBank.open(bank)
    chosen, count = torch.zeros(len(opened), dtype=torch.bool), len(opened)
    of_ids = allowed_rows(opened.entries, count, ids=ids or None)
    of_classes = allowed_rows(opened.entries, count, labels_given(opened, classes))
    for found in (of_ids, of_classes):
        chosen |= chosen if found is None else found
    if missing:
        gone = [bool(path) and not os.path.exists(path) for path in opened.paths]  # noqa: PTH110 - as for any text
        chosen |= torch.tensor(gone)
    if bool(chosen.all()):
        raise Mistake(f"expected some of the {count} images to stay, but all were named; delete {bank} instead.")
    if not bool(chosen.any()):
        say(f"Nothing removed: no file of the {count} images is gone.")
        return
    left = opened.delete(opened.ids[chosen])
    say(f"Bank: {bank}, {int(chosen.sum())} images removed, {len(left)} left.")
