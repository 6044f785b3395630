"""Why did these images come back? A query, its neighbors, what each of them shares with it, and their vote.

The decision is explained from the stored embeddings. Only the shown neighbors are read and embedded again, for the
maps on their side; how far that agrees with what is stored is part of the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import PIL.Image
import torch

from episodes import read_image
from episodes.errors import Mistake
from fsl_explain.classifiers import KnnVote, NearestNeighbor, Rule, Vote, named_rule, votes
from fsl_explain.evaluation.query_figures import figures_of
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import Compared, compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods.named import METHODS
from retrieval_explain.decisions.explained_neighbors import (
    Retrieved,
    class_name,
    explain_retrieved,
    image_name,
    over_all,
    places_of,
)
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors

Read = Callable[[str], PIL.Image.Image]
VOTE_METHODS = ("contrast", "exact", "fam", "lafam")
AGREEMENT = 1e-3  # of two similarities of one image, stored and embedded again; half precision stays below it


@dataclass(frozen=True)
class Shown:
    """One neighbor: its rank from 1, its row and similarity, and its photograph where the file could be read.

    ``similarity`` is that of the search; larger is more alike. ``label`` and ``path`` are "" where it has none.
    ``fault`` says why it has no photograph, or no maps; "" where nothing is known against it.
    """

    rank: int
    row: int
    similarity: float
    label: str
    path: str
    photograph: PIL.Image.Image | None
    fault: str


@dataclass(frozen=True)
class Pair:
    """A query beside one shown neighbor: the exact ``explanation`` of their similarity, whose cells add up to it.

    It has both sides of a query image; of a text the neighbor's alone, as that of the explained image.
    """

    shown: Shown
    explanation: Explanation

    @property
    def disagreement(self) -> float:
        """How far the similarity of the image as it is now is from the stored one, either way; 0 or more."""
        return abs(float(self.explanation.score) - self.shown.similarity)

    @property
    def agrees(self) -> bool:
        """Whether the image is still the one that was embedded, and the encoder the one that did it."""
        return self.disagreement <= AGREEMENT * max(1.0, abs(self.shown.similarity))


@dataclass(frozen=True)
class TurningPoint:
    """How many of the winner's strongest voters must go until another class wins; no other neighbor moves up.

    ``needed`` voters must go, from 1 to ``winners_voters``, all that the ``winner`` has; the fewer, the more the
    decision hangs on them. ``successor`` is the class that then wins.
    """

    needed: int
    winners_voters: int
    winner: str
    successor: str

    @property
    def sentence(self) -> str:
        """Say what the vote hangs on."""
        voters = "strongest voter" if self.needed == 1 else f"{self.needed} strongest voters"
        return f"Without its {voters} the vote goes to {self.successor}."


@dataclass(frozen=True)
class VoteAnswer:
    """The vote over all neighbors that were found, and its ``explanations`` by method.

    The contrast with the runner-up is the first, where there is one. ``ranks`` are those of each class's supports, from
    1, by (class, number of the support). ``figures`` are by method: the score, and what is left of it for the query
    behind the map. ``turning_point`` is None where every neighbor is of one class.
    """

    explanations: Mapping[str, Explanation]
    ranks: Mapping[tuple[str, int], int]
    figures: Mapping[str, Mapping[str, float]]
    turning_point: TurningPoint | None

    @property
    def voters(self) -> dict[str, int]:
        """How many neighbors each class has."""
        names = [name for name, _ in self.ranks]
        return {name: names.count(name) for name in dict.fromkeys(names)}


@dataclass(frozen=True)
class Inspection:
    """All that is known of why these neighbors came back.

    ``retrieved`` are the query and its neighbors, ``gallery`` those that are shown small, ``pairs`` the first ones,
    each explained beside the query. ``margin`` is why the first came before the second, None where there is one
    neighbor; ``vote`` is that of all neighbors, None where one has no label.
    """

    retrieved: Retrieved
    gallery: tuple[Shown, ...]
    pairs: tuple[Pair, ...]
    margin: Explanation | None
    vote: VoteAnswer | None


def inspect_neighbors(
    retrieved: Retrieved,
    *,
    rule: str | Rule | None = None,
    explained: int = 5,
    gallery: int = 20,
    read: Read = read_image,
) -> Inspection:
    """Explain the first neighbors one by one, the first against the second, and the vote of them all.

    ``rule`` is the vote or its name, NPID's weighted one if None (exp(similarity / 0.07) for each neighbor); neighbors
    without labels have none. ``explained`` neighbors get maps, of the ``gallery`` that are shown; ``read`` gives the
    photograph of a path. One that cannot be read has a ``fault`` and no maps; one that has changed since the bank was
    built is explained as it is now, and its pair does not agree.

    Raises: ``ValueError`` for fewer than one neighbor to show, a rule that is no vote, or one of another number of
    neighbors; ``LookupError`` for an unknown one.
    """
    vote = KnnVote() if rule is None else named_vote(rule)
    if explained < 1 or gallery < 1:
        raise Mistake(f"expected at least one neighbor to show, but got {min(explained, gallery)}.")
    shown = shown_neighbors(retrieved.bank, retrieved.neighbors, gallery, read)
    compared, told = _compared(retrieved, shown[:explained])
    shown, beside = (*told, *shown[explained:]), [one for one in told if not one.fault]
    return Inspection(
        retrieved=retrieved,
        gallery=shown,
        pairs=() if compared is None else _pairs(retrieved, compared, beside),
        margin=_margin(retrieved, compared, beside),
        vote=_vote(retrieved, vote),
    )


def named_vote(rule: str | Rule, k: int | None = None, temperature: float | None = None) -> Vote:
    """Return a vote by name, or the one given. Raises: ``ValueError`` for a rule that is none."""
    found = named_rule(rule, k, temperature) if isinstance(rule, str) else rule
    if not isinstance(found, Vote):
        given = rule if isinstance(rule, str) else type(rule).__name__
        raise Mistake(f"expected a vote of the neighbors, {' or '.join(votes())}, but got {given}.")
    return found


def shown_neighbors(bank: MemoryBank, neighbors: Neighbors, gallery: int, read: Read = read_image) -> tuple[Shown, ...]:
    """Return the first neighbors with their photographs, as many as are to be shown."""
    return tuple(_shown(bank, neighbors, place, read) for place in range(min(gallery, len(neighbors.indices))))


def _shown(bank: MemoryBank, neighbors: Neighbors, place: int, read: Read) -> Shown:
    row = int(neighbors.indices[place])
    path, label = bank.paths[row], int(bank.labels[row])
    photograph, fault = _photograph(path, read)
    return Shown(
        rank=place + 1,
        row=row,
        similarity=float(neighbors.similarities[place]),
        label="" if label < 0 else class_name(bank, label),
        path=path,
        photograph=photograph,
        fault=fault,
    )


def _photograph(path: str, read: Read) -> tuple[PIL.Image.Image | None, str]:
    if not path:
        return None, "the bank holds no path for it"
    try:
        return read(path), ""
    except (OSError, ValueError) as error:
        return None, str(error)


def _compared(retrieved: Retrieved, shown: Sequence[Shown]) -> tuple[Compared | None, tuple[Shown, ...]]:
    """Embed the shown neighbors; one whose image has changed so that it cannot be compared any more has a fault."""
    told = tuple(shown)
    try:
        return _beside_them(retrieved, told), told
    except Mistake:
        told = tuple(one if one.fault else _checked(retrieved, one) for one in told)
    return _beside_them(retrieved, told), told


def _checked(retrieved: Retrieved, one: Shown) -> Shown:
    try:
        _beside(retrieved, [one])
    except Mistake as error:
        return replace(one, fault=f"the image has changed since the bank embedded it: {error}")
    return one


def _beside_them(retrieved: Retrieved, shown: Sequence[Shown]) -> Compared | None:
    left = [one for one in shown if not one.fault]
    return _beside(retrieved, left) if left else None


def _beside(retrieved: Retrieved, shown: Sequence[Shown]) -> Compared:
    """Embed the shown neighbors, each a class of its own."""
    photographs = [one.photograph for one in shown if one.photograph is not None]
    images = retrieved.encoder.preprocess(photographs)
    names = [image_name(retrieved.bank, one.row, one.rank) for one in shown]
    supports = dict(zip(names, images[:, None], strict=True))
    return compare(retrieved.encoder, retrieved.image, supports, retrieved.bank.similarity, warn_of_own=False)


def _pairs(retrieved: Retrieved, compared: Compared, shown: Sequence[Shown]) -> tuple[Pair, ...]:
    choices = [Choice(NearestNeighbor(), retrieved.bank.similarity, target) for target in range(len(shown))]
    found = [explain_compared(compared, "exact", choice)[0] for choice in choices]
    return tuple(Pair(one, explanation) for one, explanation in zip(shown, found, strict=True))


def _margin(retrieved: Retrieved, compared: Compared | None, shown: Sequence[Shown]) -> Explanation | None:
    if len(retrieved.neighbors.indices) < 2:
        return None
    if compared is None or [one.rank for one in shown[:2]] != [1, 2]:
        return explain_retrieved(retrieved, "contrast", NearestNeighbor(), 0, 1)
    choice = Choice(NearestNeighbor(), retrieved.bank.similarity, 0, 1)
    return explain_compared(compared, "contrast", choice)[0]


def _vote(retrieved: Retrieved, rule: Vote) -> VoteAnswer | None:
    labels = retrieved.bank.labels[retrieved.neighbors.indices]
    if bool((labels < 0).any()):
        return None
    present = labels.unique()
    compared = retrieved.compared_by_class
    choice = Choice(over_all(rule, retrieved.neighbors), retrieved.bank.similarity)
    usual = VOTE_METHODS if retrieved.encoder.tokens is None else VOTE_METHODS[:2]  # others are of pooled maps
    asked = usual if len(present) > 1 else usual[1:]
    methods = [name for name in asked if METHODS[name].takes(retrieved.bank.compared_by)]
    found = {method: explain_compared(compared, method, choice)[0] for method in methods}
    places, valid = places_of(labels, present)
    return VoteAnswer(
        explanations=found,
        ranks={
            (name, shot): int(places[way, shot]) + 1
            for way, name in enumerate(compared.supports.classes)
            for shot in range(int(valid[way].sum()))
        },
        figures={method: figures_of(compared, explanation, choice) for method, explanation in found.items()},
        turning_point=turning_point(retrieved, rule),
    )


def turning_point(retrieved: Retrieved, rule: Vote) -> TurningPoint | None:
    """Take the winner's voters away, the strongest first, until it is not the winner any more.

    None where all neighbors are of one class. No fewer of its voters would do; neighbors beyond k are not called up.
    """
    labels, way = retrieved.bank.labels[retrieved.neighbors.indices].unique(return_inverse=True)
    if len(labels) == 1:
        return None
    similarities = retrieved.neighbors.similarities
    cast = rule.votes(similarities - similarities[0])
    totals = cast.new_zeros(len(labels)).scatter_add(0, way, cast)
    winner = int(totals.argmax())
    others = totals.clone()
    others[winner] = -torch.inf
    successor = int(others.argmax())
    taken = cast[way == winner].sort(descending=True).values.cumsum(dim=0)
    left = totals[winner] - taken
    beaten = left < totals[successor] if winner < successor else left <= totals[successor]
    beaten[-1] = True  # nothing is left, whatever the rounding
    names = [class_name(retrieved.bank, int(label)) for label in labels]
    return TurningPoint(int(beaten.int().argmax()) + 1, len(taken), names[winner], names[successor])
