"""What each gallery image is worth to a k-nearest-neighbor classifier, and which ones are likeliest mislabeled.

The game: a set of gallery images is worth the share of a query's k neighbors among them that have its class, 1/k for
each, also where fewer than k are present. An image's value is its Shapley value in that game, exactly.

Reference: Jia et al., "Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms", 2019, Theorem 1.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.batches import slices
from retrieval_explain.ranking.ranked_lists import tied_runs

PAIRS_AT_ONCE = 2**21
"""Similarities held at a time, some twenty numbers of eight bytes for each."""

Pairwise = Callable[[Tensor, Tensor], Tensor]


def shapley_values(
    similarities: Float[Tensor, "query gallery"],
    is_match: Bool[Tensor, "query gallery"],
    k: int,
    leave_self_out: Int[Tensor, "query"] | None = None,
) -> Float[Tensor, "query gallery"]:
    """Return each gallery image's value for each query, positive where it helps, within [-1/k, 1/k].

    The values of a query sum to the share of its k nearest neighbors that match (divided by k, even where the gallery
    is smaller). Images tied in similarity are valued as the mean over their orders. The gallery image at the place
    ``leave_self_out`` of a query (-1: none) takes no part and is worth 0.

    Theorem 1 counts from the farthest image inward: s_N = 1[y_N = y]/max(k, N) and
    s_i = s_{i+1} + (1[y_i = y] - 1[y_{i+1} = y])/k · min(k, i)/i. Summed up, with c_i = min(k, i)/(k·i), that is
    s_i = c_i·1[y_i = y] - Σ_{l > i} (c_{l-1} - c_l)·1[y_l = y], which is what is computed.

    Raises:
        ValueError: k is below 1, or a similarity is not finite.
    """
    _must_be_valued(similarities, k)
    if leave_self_out is not None:
        places = torch.arange(similarities.shape[1], device=similarities.device)
        is_self = places == leave_self_out[:, None]
        # Last and without a match, it changes no other value and gets none.
        similarities, is_match = similarities.masked_fill(is_self, -torch.inf), is_match & ~is_self
    descending, order = similarities.sort(dim=1, descending=True, stable=True)
    first, end = tied_runs(descending)
    size = (end - first).double()
    match = is_match.gather(1, order).double()
    matches_in_run = _sum_before(match, end) - _sum_before(match, first)
    mean_match = matches_in_run / size

    rank = torch.arange(1, descending.shape[1] + 1, device=descending.device, dtype=torch.float64)
    share = rank.clamp(max=k) / (k * rank)
    shares = share.expand_as(match)
    mean_share = (_sum_before(shares, end) - _sum_before(shares, first)) / size
    last_share = shares.gather(1, end - 1)
    fall = (torch.cat([share[:1], share[:-1]]) - share) * mean_match
    nearer_than_others = (matches_in_run - match) / (size - 1).clamp(min=1) * (mean_share - last_share)
    beyond = _sum_before(fall.flip(1), match.shape[1] - end)
    in_order = mean_share * match - nearer_than_others - beyond
    return torch.zeros_like(in_order).scatter(1, order, in_order)


def knn_shapley(
    queries: Float[Tensor, "query channel"],
    gallery: Float[Tensor, "gallery channel"],
    query_labels: Int[Tensor, "query"],
    gallery_labels: Int[Tensor, "gallery"],
    pairwise: Pairwise,
    k: int,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> Float[Tensor, "gallery"]:
    """Return the mean value of each gallery image over the queries; see ``shapley_values``.

    The values sum to the mean share of matches among the k nearest. ``pairwise`` gives the similarity of every query
    to every gallery image, as the similarities of ``fsl_explain`` do. Memory is bounded by ``pairs_at_once``
    similarities, or by one query's.

    Raises:
        ValueError: there is no query, k is below 1, or a similarity is not finite.
    """
    nowhere = torch.full_like(query_labels, -1)
    return _mean_values(queries, gallery, query_labels, gallery_labels, nowhere, pairwise, k, pairs_at_once)


def leave_one_out_shapley(
    gallery: Float[Tensor, "gallery channel"],
    labels: Int[Tensor, "gallery"],
    pairwise: Pairwise,
    k: int,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> Float[Tensor, "gallery"]:
    """Return the mean value of each gallery image with the gallery's own images as the queries.

    An image takes no part in its own query, where it is worth 0; the mean is over all images, so that the values sum
    to the mean leave-one-out share of matches among the k nearest.

    Raises:
        ValueError: the gallery is empty, k is below 1, or a similarity is not finite.
    """
    own = torch.arange(len(labels), device=labels.device)
    return _mean_values(gallery, gallery, labels, labels, own, pairwise, k, pairs_at_once)


def query_blocks(queries: int, gallery: int, pairs_at_once: int = PAIRS_AT_ONCE) -> Iterator[slice]:
    """Cut queries into blocks that are valued together."""
    return slices(queries, max(1, pairs_at_once // max(1, gallery)))


def leave_one_out_sums(
    gallery: Float[Tensor, "gallery channel"],
    labels: Int[Tensor, "gallery"],
    pairwise: Pairwise,
    k: int,
    block: slice,
) -> Float[Tensor, "gallery"]:
    """Return what a block of the gallery's own images adds, as queries, to the sum of each image's values.

    The sums of all blocks, added in order and divided by the number of images, are ``leave_one_out_shapley``.
    """
    is_match = labels[block, None] == labels
    own = torch.arange(len(labels), device=labels.device)[block]
    return shapley_values(pairwise(gallery[block], gallery), is_match, k, own).sum(dim=0)


def likeliest_mislabeled(values: Float[Tensor, "gallery"]) -> Int[Tensor, "gallery"]:
    """Order the gallery images from the likeliest mislabeled on: lowest value first, ties by place in the gallery."""
    return values.argsort(stable=True)


def _mean_values(
    queries: Tensor,
    gallery: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    own_places: Tensor,
    pairwise: Pairwise,
    k: int,
    pairs_at_once: int,
) -> Tensor:
    if not len(queries):
        raise Mistake("the value of an image is a mean over queries, but there is none; pass at least one query.")
    total = torch.zeros(len(gallery), dtype=torch.float64, device=gallery.device)
    for block in query_blocks(len(queries), len(gallery), pairs_at_once):
        is_match = query_labels[block, None] == gallery_labels
        total += shapley_values(pairwise(queries[block], gallery), is_match, k, own_places[block]).sum(dim=0)
    return total / len(queries)


def _sum_before(values: Float[Tensor, "query place"], place: Int[Tensor, "query place"]) -> Tensor:
    """Sum the values of each row over the places before each of the given ones."""
    return torch.nn.functional.pad(values.cumsum(dim=1), (1, 0)).gather(1, place)


def _must_be_valued(similarities: Tensor, k: int) -> None:
    if k < 1:
        raise Mistake(f"a nearest-neighbor classifier needs k of 1 or more, but k is {k}. Raise k.")
    unranked = (~similarities.isfinite()).any(dim=0)
    if unranked.any():
        raise Mistake(
            f"{int(unranked.sum())} of {len(unranked)} gallery images have a similarity that is not finite, first "
            f"{int(unranked.nonzero()[0])}. They cannot be ranked; drop or repair their embeddings."
        )
