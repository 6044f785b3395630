"""One query at a time, in less time than it takes to read the rows: half of the bits of each are read in their place.

A bank that is asked again and again keeps its rows once more in bfloat16, as vectors f(g) of which the similarity is
an inner product or a distance (``Traits``). Half of the bytes are read in about half of the time. What they say is
off by no more than the rounding of both sides allows, ‖f(q) - copy‖ and the largest ‖f(g) - copy‖, which was measured;
so a row that falls short of the k-th by more than twice that is out for certain, and the few others are compared in
float64 from what is stored.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import faiss as typed_faiss
import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from fsl_explain.similarities import Similarity, similarity_name, traits_of
from retrieval_explain.ranking.neighbors import Neighbors, Rows, joined, nearest, similarities_to
from retrieval_explain.search.candidates import SPARE
from retrieval_explain.search.faiss_search import faiss_search
from retrieval_explain.search.products import rounding

faiss: Any = typed_faiss  # its stubs do not know codes that are added as they are
ASKED_BEFORE = 64  # searches that a copy would have made faster by as much time as it takes to make
FEWEST_VALUES, LARGEST_COPY = 2**22, 2**30  # numbers of the rows to search among; bytes
VALUES_A_THREAD = 2**24
WIDTH = 16  # channels that a processor takes together; others are filled up with zeros
BLOCK_VALUES = 2**18  # in float64, so that they stay in the processor's cache
MOST_SPARE, MOST_SPARE_AT_FIRST = 2**12, 2**8
WIDER = 4
UNDERFLOW = 2.0**-126
LARGEST_NORM = 1e18  # whose square float32 still holds
_KNOWN: WeakKeyDictionary[Rows, "_Asked"] = WeakKeyDictionary()


@dataclass(frozen=True)
class CoarseRows:
    """Rows in bfloat16, cut into one part for each thread."""

    parts: list[tuple[int, int, Any]]  # first row, end, index of FAISS
    by_distance: bool
    off: float  # the largest ‖f(g) - copy‖
    longest: float  # the largest ‖copy‖

    def best(
        self, query: Float64[Tensor, "channel"], count: int, allowed: Bool[Tensor, "row"] | None
    ) -> tuple[Int[Tensor, "candidate"], Float64[Tensor, "candidate"], float]:
        """Return the best rows, the best first, what the copy says of each, and by how much that may be off."""
        rounded = query.bfloat16()  # some processors would round it so, and others not
        asked = np.zeros((1, self.parts[0][2].d), np.float32)
        asked[0, : len(query)] = rounded.float().numpy()

        def search(part: tuple[int, int, Any]) -> tuple[Tensor, Tensor]:
            start, stop, index = part
            options = None if allowed is None else _selected(allowed[start:stop])
            told, rows = faiss_search(index, asked, min(count, stop - start), options)
            there = rows[0] >= 0
            return torch.from_numpy(rows[0][there]) + start, torch.from_numpy(told[0][there]).double()

        if len(self.parts) == 1:
            found = [search(self.parts[0])]
        else:
            with ThreadPoolExecutor(len(self.parts)) as pool:
                found = list(pool.map(search, self.parts))
        rows, told = joined([rows for rows, _ in found]), joined([told for _, told in found])
        values = -told.sqrt() if self.by_distance else told
        if len(found) > 1:
            values, order = values.topk(min(count, len(values)))
            rows = rows[order]
        unit, norm = rounding(len(query)), float(rounded.double().norm())
        off = float((query - rounded.double()).norm())  # of the query
        if self.by_distance:
            error = self.off + off + unit * (norm + self.longest) + UNDERFLOW**0.5 * len(query)
        else:
            error = (norm + off) * self.off + off * self.longest + unit * norm * self.longest
            error += UNDERFLOW * len(query) * (1 + norm + self.longest)
        return rows, values, error


@dataclass
class _Asked:
    """What is known of rows: how often they were asked one query at a time, and their copy, where it is worth one."""

    name: str | None
    similarity: Similarity
    times: int = 0
    coarse: CoarseRows | None = None
    is_useless: bool = False
    spare: int = SPARE
    in_vain: int = 0
    lock: Lock = field(default_factory=Lock)

    def failed(self) -> None:
        """Count a query that the copy did not answer, and give the copy up where most are not."""
        self.in_vain += 1
        if self.in_vain > ASKED_BEFORE and 2 * self.in_vain > self.times - ASKED_BEFORE:
            self.coarse, self.is_useless = None, True


def coarse_search(
    rows: Rows,
    query: Float[Tensor, "1 channel"],
    similarity: Similarity,
    k: int,
    allowed: Bool[Tensor, "row"] | None,
    there_are: int,
) -> Neighbors | None:
    """Return the k nearest of the rows, ``there_are`` of which are allowed, or None where every row has to be compared.

    It has to for the first ``ASKED_BEFORE`` queries, for few rows, for copies of more than ``LARGEST_COPY`` bytes, and
    where more rows are about equally near than the copy can tell apart.
    """
    if there_are * rows.shape[1] < FEWEST_VALUES:
        return None
    known, transform = _known(rows, similarity), traits_of(similarity).transform
    coarse = known.coarse if known else None
    if known is None or coarse is None or transform is None:
        return None
    asked, spare = transform(query[0].double()), known.spare
    if not float(asked.norm()) < LARGEST_NORM:
        return None
    while spare <= MOST_SPARE:
        found, values, error = coarse.best(asked, min(k + spare, there_are), allowed)
        bar = float(values[k - 1]) - 2 * error
        if len(found) == there_are or float(values[-1]) < bar:
            known.spare = min(spare, MOST_SPARE_AT_FIRST)
            proposed = found[values >= bar][None]
            return nearest(proposed, similarities_to(query, rows, proposed, similarity), k)
        spare *= WIDER
    known.failed()
    return None


def _known(rows: Rows, similarity: Similarity) -> _Asked | None:
    """Count a query, and return what is known of the rows; None where a copy of them is never worth it."""
    if rows.shape[0] * rows.shape[1] > LARGEST_COPY // 2:
        return None
    name, known = similarity_name(similarity), _KNOWN.get(rows)
    if known is None or (known.similarity is not similarity and (name is None or known.name != name)):
        known = _KNOWN[rows] = _Asked(name, similarity)
    known.times += 1
    if known.times > ASKED_BEFORE and not (known.coarse or known.is_useless) and known.lock.acquire(blocking=False):
        try:
            if known.coarse is None and not known.is_useless:  # another thread may have been quicker
                known.coarse = coarse_rows(rows, similarity)
                known.is_useless = known.coarse is None
        finally:
            known.lock.release()
    return known


def coarse_rows(rows: Rows, similarity: Similarity) -> CoarseRows | None:
    """Copy rows; None for a similarity that is no inner product and no distance, and for numbers beyond bfloat16."""
    traits = traits_of(similarity)
    transform = traits.transform
    if transform is None:
        return None
    count, channels = rows.shape[0], transform(rows.read(0, 1).double()).shape[1]
    width = -(-channels // WIDTH) * WIDTH
    if 2 * count * width > LARGEST_COPY:
        return None
    by_distance = traits.inner_product_of is None
    metric = faiss.METRIC_L2 if by_distance else faiss.METRIC_INNER_PRODUCT
    threads = max(1, min(torch.get_num_threads(), count * width // VALUES_A_THREAD))
    edges, parts, off, longest = np.linspace(0, count, threads + 1).astype(int).tolist(), [], 0.0, 0.0
    for start, stop in pairwise(edges):
        index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_bf16, metric)
        step = max(1, BLOCK_VALUES // width)
        for first in range(start, stop, step):
            exact = transform(rows.read(first, min(first + step, stop)).double())
            copied = exact.new_zeros(len(exact), width, dtype=torch.bfloat16)
            copied[:, :channels] = exact
            told = copied[:, :channels].double()
            most = float((exact - told).norm(dim=1).max()), float(told.norm(dim=1).max())
            if not sum(most) < LARGEST_NORM:  # nor is NaN
                return None
            off, longest = max(off, most[0]), max(longest, most[1])
            index.add_sa_codes(copied.view(torch.uint8).numpy())
        parts.append((start, stop, index))
    return CoarseRows(parts, by_distance, off, longest)


def _selected(allowed: Bool[Tensor, "row"]) -> Any:
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(allowed.numpy(), bitorder="little")))
