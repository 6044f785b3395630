"""``retrieval-explain search --rerank``: the first neighbors in the order of a rule over cells."""

from typing import Any

from fsl_explain.encoder import Encoder
from retrieval_explain.cli.opened import Query, rows_to_leave_out
from retrieval_explain.local.reranking import Reranked, reranked
from retrieval_explain.memory_bank import MemoryBank

COLUMNS: tuple[str, ...] = ("rank", "score", "first rank", "similarity", "class", "id", "path")


def ranked_again(
    network: Encoder,
    bank: MemoryBank,
    asked: Query,
    rule: str,
    first: int | None,
    k: int | None,
    among: list[str] | list[int] | None,
    ids: tuple[int, ...],
    leave_self_out: bool,
) -> Reranked:
    """Rank the first neighbors of a query by their cells; the query's own file is left out where it is to be."""
    options: dict[str, Any] = {"rule": rule, "first": first, "k": k, "classes": among, "ids": ids or None}
    found = reranked(network, asked.image, bank, **options)
    own = rows_to_leave_out(bank, found.indices.tolist(), asked.path, leave_self_out)
    return found if own is None else reranked(network, asked.image, bank, without=own, **options)


def with_both_ranks(found: Reranked, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the score and the first rank into each neighbor's record, in the order of the columns."""
    more = zip(records, found.scores.tolist(), found.first_ranks.tolist(), strict=True)
    made = [{**record, "score": score, "first rank": rank} for record, score, rank in more]
    return [{name: record[name] for name in COLUMNS} for record in made]
