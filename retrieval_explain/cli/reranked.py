"""``retrieval-explain search --rerank``: the first neighbors in the order of a rule over cells."""

import shlex
from pathlib import Path
from typing import Any

from episodes.errors import MissingFile, Mistake
from retrieval_explain.local.local_features import FOLDER
from retrieval_explain.local.local_files import are_kept
from retrieval_explain.local.reranking import Reranked
from retrieval_explain.memory_bank import MemoryBank

COLUMNS: tuple[str, ...] = ("rank", "score", "first rank", "similarity", "class", "id", "path")


def expect_local_features(
    bank: MemoryBank, encoder: str, checkpoint: Path | None, pooling: str | None, readout: str | None
) -> None:
    """Refuse a bank without local features, with the command that makes them by the same encoder.

    Raises: ``FileNotFoundError``; ``ValueError`` for a bank that is no single folder.
    """
    if bank.directory is None:
        raise Mistake(
            "--rerank reads local features beside one bank in a folder, but --bank names none such; name one."
        )
    if are_kept(bank.directory / FOLDER):
        return
    options = {"encoder": encoder, "checkpoint": checkpoint, "pooling": pooling, "readout": readout}
    given = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    command = shlex.join(["retrieval-explain", "local-features", "--bank", str(bank.directory), *given])
    raise MissingFile(f"--rerank compares local features, but the bank {bank.directory} has none; make them: {command}")


def with_both_ranks(found: Reranked, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the score and the first rank into each neighbor's record, in the order of the columns."""
    more = zip(records, found.scores.tolist(), found.first_ranks.tolist(), strict=True)
    made = [{**record, "score": score, "first rank": rank} for record, score, rank in more]
    return [{name: record[name] for name in COLUMNS} for record in made]
