"""Images that a retrieval is asked about at any rank: those beyond the first neighbors join them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.contrast_weights import Against, ClassReference
from retrieval_explain.decisions.expected_rows import expected_rows
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.exact_ranks import rows_ahead
from retrieval_explain.ranking.neighbors import Neighbors, similarities_to

Asked = ClassReference | Path


def joined(
    bank: MemoryBank,
    embedding: Float[Tensor, "channel"],
    found: Neighbors,
    asked: Sequence[Asked],
    names: Sequence[str],
    *,
    allowed: Bool[Tensor, "row"] | None = None,
) -> tuple[Neighbors, tuple[int, ...], list[int]]:
    """Return the neighbors with the images asked for, the rank of each from 1, and the place of each asked for.

    A whole number is a rank from 0, as everywhere in retrieval; a text is one of the neighbors' ``names``, or else a
    path or ``id:NUMBER``, as ``expected_rows`` reads it.

    Raises: ``LookupError`` for what the bank has not; ``ValueError`` for a class, or what the filters leave out.
    """
    indices = found.indices.tolist()
    ranks, places = list(range(1, len(indices) + 1)), []
    for one in asked:
        row, rank = _row_and_rank(bank, embedding, indices, one, names, allowed)
        if row not in indices:
            indices.append(row)
            ranks.append(rank)
        places.append(indices.index(row))
    rows = torch.tensor(indices)
    similarities = similarities_to(embedding[None].cpu(), bank.rows, rows[None], bank.similarity)[0]
    similarities[: found.similarities.shape[-1]] = found.similarities
    return Neighbors(rows, similarities, bank.labels[rows]), tuple(ranks), places


def _row_and_rank(
    bank: MemoryBank,
    embedding: Float[Tensor, "channel"],
    indices: Sequence[int],
    asked: Asked,
    names: Sequence[str],
    allowed: Bool[Tensor, "row"] | None,
) -> tuple[int, int]:
    if isinstance(asked, int):
        among = len(bank) if allowed is None else int(allowed.sum())
        if not 0 <= asked < among:
            raise Mistake(f"expected a rank from 0 to {among - 1}, but got {asked}; the first neighbor is 0.")
        if asked < len(indices):
            return indices[asked], asked + 1
        left = None if allowed is None else (~allowed).nonzero()[:, 0]
        return int(bank.search(embedding, asked + 1, without=left).indices[asked]), asked + 1
    if asked in names:
        place = list(names).index(str(asked))
        return indices[place], place + 1
    meant = expected_rows(bank, asked)
    if meant.kind == "class":
        raise Mistake(f"expected one image, but {meant.name} is a class of the bank; name an image, or use a vote.")
    row = int(meant.rows)
    if allowed is not None and not bool(allowed[row]):
        raise Mistake(f"expected an image that the search may return, but the filters leave {meant.name} out.")
    return row, len(rows_ahead(embedding.cpu(), bank.rows, bank.similarity, row, allowed)) + 1


def listed(against: Against) -> list[Asked] | None:
    """Return the rivals one by one; None where they are the runner-up or all others."""
    if against is None or (isinstance(against, str) and against == "others"):
        return None
    if isinstance(against, Tensor):
        return [int(rank) for rank in against.flatten()]
    return [against] if isinstance(against, str | int | Path) else list(against)
