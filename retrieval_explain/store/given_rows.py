"""Embeddings as users have them: tensors, NumPy arrays or lists of numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.similarities import Similarity, is_without, named_similarity, traits_of
from retrieval_explain.store.similarity_names import words_of

Given: TypeAlias = Tensor | np.ndarray | Sequence[Any]


def as_rows(values: Given, what: str) -> Float[Tensor, "*batch channel"]:
    """Return embeddings as a tensor on the CPU, in float32; ``what`` is what errors call them.

    Raises: ``TypeError`` for anything but numbers in a rectangle.
    """
    given: Tensor | None
    if isinstance(values, Tensor):
        given = values.detach().cpu()
    else:
        try:
            array = np.asarray(values)
            given = torch.from_numpy(np.ascontiguousarray(array)) if array.dtype.kind in "fiu" else None
        except (ValueError, TypeError):
            given = None
    if given is None or given.is_complex() or given.dtype == torch.bool or given.dim() == 0:
        raise WrongType(
            f"expected {what} as a tensor or an array of numbers (…, channel), but got {_kind(values)}; "
            "use encoder(images).embedding, or numpy.stack of vectors."
        )
    return given.float()


def as_matrix(embeddings: Given) -> Float[Tensor, "row channel"]:
    """Return the embeddings of a bank's rows. Raises: ``ValueError`` for none, or another shape."""
    rows = as_rows(embeddings, "embeddings")
    if rows.dim() != 2 or not rows.numel():
        raise Mistake(f"expected embeddings (rows, channels) of at least one image, but got shape {tuple(rows.shape)}.")
    return rows


def as_queries(embeddings: Given, channels: int, similarity: str | Similarity) -> Float[Tensor, "*batch channel"]:
    """Return the embeddings of queries. Raises: ``ValueError`` for another dimension, or one that has no similarity."""
    given = as_rows(embeddings, "queries")
    if given.shape[-1] != channels:
        raise Mistake(f"expected queries of {channels} channels, but got {given.shape[-1]}; use the bank's encoder.")
    check_rows(given.reshape(-1, channels), similarity, (), "queries")
    return given


def check_rows(
    embeddings: Float[Tensor, "row channel"],
    similarity: str | Similarity,
    paths: Sequence[str],
    what: str = "embeddings",
    first_row: int = 0,
) -> None:
    """Refuse rows that cannot be compared; ``first_row`` is the number of the first of them.

    Raises: ``ValueError`` that says how many there are, and names the first.
    """
    compared = named_similarity(similarity)
    zero_has_none = traits_of(compared).zero_has_none
    bad = ~embeddings.isfinite().all(dim=-1) | is_without(compared, embeddings)
    if not bad.any():
        return
    first = int(bad.nonzero()[0, 0])
    name = paths[first] if first < len(paths) and paths[first] else f"row {first_row + first}"
    kind = "zero or not finite" if zero_has_none else "not finite"
    raise Mistake(
        f"{int(bad.sum())} of {len(bad)} {what} are {kind}, first {name}; they have no {words_of(similarity)} "
        "similarity: fix or drop these images."
    )


def check_all_rows(
    blocks: Iterable[tuple[int, Float[Tensor, "row channel"]]], similarity: str | Similarity, paths: Sequence[str]
) -> None:
    """Refuse blocks of rows of which one has no such similarity. Raises: as ``check_rows``."""
    if traits_of(named_similarity(similarity)).zero_has_none:
        for start, block in blocks:
            check_rows(block, similarity, paths[start : start + len(block)], "embeddings", start)


def wanted_neighbors(k: int | None, there_are: int, rows: int) -> int:
    """Return how many neighbors are looked for; None: ``DEFAULT_K``, or all where there are fewer.

    ``there_are`` is the number of rows that are searched among, of all the ``rows`` of a bank.

    Raises: ``TypeError`` for no whole number; ``ValueError`` for none, or more than there are.
    """
    if not rows:
        raise Mistake("the bank holds no images to search among; add some first.")
    wanted = min(DEFAULT_K, there_are) if k is None else k
    if isinstance(k, bool) or not isinstance(wanted, int | np.integer):
        raise WrongType(f"expected a whole number of neighbors, but got k={k!r}.")
    if k is not None and k < 1:
        raise Mistake(f"asked for {k} neighbors, but it takes at least 1; raise k.")
    if not 1 <= wanted <= there_are:
        raise Mistake(
            f"asked for {wanted} neighbors, but there are {there_are} embeddings to search among; "
            f"{'lower k' if there_are else 'add images or drop the filter'}."
        )
    return wanted


def _kind(values: object) -> str:
    if isinstance(values, Tensor | np.ndarray):
        return f"one of {values.dtype} and shape {tuple(values.shape)}"
    return f"a {type(values).__name__}"
