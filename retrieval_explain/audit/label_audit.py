"""The likeliest mislabeled images of a bank: those whose labels cost its own nearest-neighbor classifier most.

Each image of the bank is classified by its k nearest others. A label has two parts in that: it votes for its
neighbors, which its KNN-Shapley value counts, and it is what the image's own neighbors are held against.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import average_precision_score
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import MajorityVote
from fsl_explain.engine import LOCAL, EngineChoice
from fsl_explain.progress import Report, silent
from retrieval_explain.audit.audited_images import AuditedImages, audited
from retrieval_explain.decisions.chosen_classes import choose
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.knn_shapley import likeliest_mislabeled
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.store.entries import UNLABELED

USUAL_K = 10
RANDOM_ORDERS = 1000


@dataclass(frozen=True)
class Audit:
    """What the labels of a bank are worth, image by image; images without a label take no part.

    ``values`` are KNN-Shapley values (Jia et al., 2019, Theorem 1), means over the images as queries, in [-1/k, 1/k]:
    below 0 an image misleads more than it helps. They sum to the mean ``agreement``, which is the share of an image's
    k nearest that have its label; ``suggested`` is the label that most of them have (of equals the lowest), and
    ``support`` the share that has it, both shares in [0, 1]. ``rows`` of the bank are the images, ``labels`` those that
    were audited, and ``neighbors`` (image, k) the rows nearest to each, itself left out.
    """

    rows: Int[Tensor, "image"]
    labels: Int[Tensor, "image"]
    values: Float[Tensor, "image"]
    neighbors: Neighbors
    suggested: Int[Tensor, "image"]
    support: Float[Tensor, "image"]
    agreement: Float[Tensor, "image"]

    @property
    def k(self) -> int:
        """The number of neighbors."""
        return self.neighbors.indices.shape[1]

    @property
    def worth(self) -> Float[Tensor, "image"]:
        """What each label adds to the sum, over all images, of the share of matches among their k nearest.

        That is its Shapley part in the shares of the others, and the image's own share: its value times the number of
        images, plus its agreement. The less, the likelier is the label wrong.
        """
        return len(self.values) * self.values + self.agreement

    @property
    def order(self) -> Int[Tensor, "image"]:
        """Places in ``rows``, from the likeliest mislabeled image on: least worth first, ties by row."""
        return likeliest_mislabeled(self.worth)


@dataclass(frozen=True)
class NoisyLabels:
    """Labels of which some are wrong on purpose: where ``is_flipped``, the label is another than before.

    ``labels`` are of every row that was given, -1 where it has none.
    """

    labels: Int[Tensor, "row"]
    is_flipped: Bool[Tensor, "row"]


@dataclass(frozen=True)
class Detection:
    """How well an order finds flipped labels: average precision, the area under the precision-recall curve.

    Beside it the same of random orders: their mean and the range that holds 95 % of them. All are in [0, 1], larger
    is better.
    """

    average_precision: float
    random_mean: float
    random_low: float
    random_high: float


def audit(
    bank: MemoryBank,
    k: int | None = None,
    labels: Int[Tensor, "row"] | None = None,
    *,
    engine: EngineChoice = LOCAL,
    report: Report = silent,
) -> Audit:
    """Value the label of every image of a bank by leaving each out in turn; ``labels`` replaces the bank's, -1 is none.

    ``k`` of None is 10, or the others in the median image's class where those are fewer: an image can only be
    surrounded by its own class while k stays below that, and with ten neighbors a few wrong labels among them are
    outvoted, while only what is near is asked.

    All embeddings are held in memory in float64, of each worker that an ``engine`` has; time grows with the square of
    the bank. ``report`` is told of images done, each twice.

    Raises: ``ValueError`` for fewer than two labeled images, a k that they do not have, or labels of another number.
    """
    given = bank.labels if labels is None else labels
    if len(given) != len(bank):
        raise Mistake(f"expected one label for each of {len(bank)} images, but got {len(given)}.")
    rows = (given != UNLABELED).nonzero()[:, 0]
    if len(rows) < 2:
        raise Mistake(f"an audit compares labels, but {len(rows)} of {len(bank)} images have one; add labels.")
    names, numbered = given[rows].unique(return_inverse=True)
    k = _usual_k(numbered) if k is None else k
    if not 1 <= k < len(rows):
        raise Mistake(f"asked for {k} neighbors, but each of {len(rows)} labeled images has {len(rows) - 1} others.")
    embeddings = bank.rows.take(rows).double()
    values, found = audited(AuditedImages(embeddings, numbered, bank.similarity, k), engine, report)
    their_labels = numbered[found.indices]
    suggested = choose(MajorityVote(), found.similarities, their_labels, len(names)).predicted
    return Audit(
        rows=rows,
        labels=given[rows],
        values=values,
        neighbors=Neighbors(rows[found.indices], found.similarities, given[rows][found.indices]),
        suggested=names[suggested],
        support=(their_labels == suggested[:, None]).double().mean(dim=1),
        agreement=(their_labels == numbered[:, None]).double().mean(dim=1),
    )


def inject_label_noise(labels: Int[Tensor, "row"], share: float, seed: int) -> NoisyLabels:
    """Give a share of the labeled images, rounded to whole images, another of the labels, each alike likely.

    ``share`` is above 0 and below 1; the images and their labels are drawn from ``seed``. Rows without a label (-1)
    stay without.

    Raises: ``ValueError`` for a share that flips no image or all, or fewer than two labels.
    """
    if not math.isfinite(share):
        raise Mistake(f"expected a share of the labels to flip between 0 and 1, but got {share:g}; try 0.1.")
    labeled = (labels != UNLABELED).nonzero()[:, 0]
    known = labels[labeled].unique()
    if len(known) < 2:
        raise Mistake(f"a label can be flipped where there are two or more, but there is {len(known)}; add labels.")
    count = round(share * len(labeled))
    if not 0 < count < len(labeled):
        raise Mistake(
            f"expected a share that flips some of {len(labeled)} labels, but {share:g} flips {count}; "
            "choose one between 0 and 1."
        )
    rng = np.random.default_rng(seed)
    flipped = labeled[torch.from_numpy(rng.choice(len(labeled), count, replace=False))]
    ahead = torch.from_numpy(rng.integers(1, len(known), count))
    noisy, is_flipped = labels.clone(), torch.zeros(len(labels), dtype=torch.bool)
    noisy[flipped] = known[(torch.searchsorted(known, labels[flipped]) + ahead) % len(known)]
    is_flipped[flipped] = True
    return NoisyLabels(noisy, is_flipped)


def detection(
    worth: Float[Tensor, "image"], is_flipped: Bool[Tensor, "image"], seed: int = 0, orders: int = RANDOM_ORDERS
) -> Detection:
    """Judge an order by the flipped labels it finds, lowest worth first, against random orders drawn from ``seed``.

    Raises: ``ValueError`` where nothing is flipped, or without an order to compare with.
    """
    if not bool(is_flipped.any()) or orders < 1:
        raise Mistake(
            "expected flipped labels to find and at least 1 random order, but got "
            f"{int(is_flipped.sum())} flipped labels and {orders} orders."
        )
    truth, rng = is_flipped.numpy(), np.random.default_rng(seed)
    rank = np.arange(1, len(truth) + 1)
    shuffled = (rng.permutation(truth) for _ in range(orders))
    by_chance = [(found.cumsum() / rank)[found].mean() for found in shuffled]
    low, high = np.percentile(by_chance, [2.5, 97.5])
    found = average_precision_score(truth, -worth.numpy())
    return Detection(float(found), float(np.mean(by_chance)), float(low), float(high))


def _usual_k(labels: Int[Tensor, "image"]) -> int:
    others = labels.bincount()[labels] - 1
    return max(1, min(USUAL_K, int(others.median())))
