"""Why did the expected image not come back first? Its rank, what holds it back, and what would have to change.

The rank is exact whatever index the bank has: every row that may come back is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

from episodes import read_image
from episodes.errors import Mistake
from fsl_explain.brief import as_html
from fsl_explain.classifiers import KnnVote, NearestNeighbor, Rule, SupportSet, Vote
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import Compared, compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from retrieval_explain.decisions.expected_rows import ExpectedRows, Reference, expected_rows
from retrieval_explain.decisions.explained_neighbors import Retrieved, class_name, explain_retrieved, image_name
from retrieval_explain.inspection.inspected import AGREEMENT, Read, named_vote
from retrieval_explain.inspection.rank_change import RankChange, beside, rank_change
from retrieval_explain.inspection.shown_paths import common_folder, shown_path
from retrieval_explain.ranking.exact_ranks import rows_ahead, similarities_to_all
from retrieval_explain.ranking.neighbors import similarities_to


@dataclass(frozen=True)
class Placed:
    """One image of the bank and where it stands: its ``rank`` from 1, and its ``similarity`` to the query.

    ``label`` is "" where it has none, ``name`` its rank and file, ``shown`` its path below the folder of the bank's
    images, for what is shared.
    """

    rank: int
    row: int
    id: int
    path: str
    label: str
    similarity: float
    name: str
    shown: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, with the path that is shown."""
        return {**{name: getattr(self, name) for name in ("rank", "id", "label", "similarity")}, "path": self.shown}


@dataclass(frozen=True)
class ClassStanding:
    """What the vote of the neighbors says of the expected class.

    Of its ``images`` that may come back so many are ``voters`` among the ``neighbors``; they have a ``share`` of the
    vote, in [0, 1], which the class ``winner`` wins.
    """

    name: str
    images: int
    voters: int
    neighbors: int
    share: float
    winner: str


@dataclass(frozen=True)
class Expectation:
    """Why an image, or the best image of a class, does not come back first.

    ``expected`` is that image, ``first`` the one that comes back first, ``last`` the k-th neighbor where the expected
    image is not among the k; each with its rank ``among`` all images that may come back. ``contrast`` explains what the
    first has over the expected: red cells speak for the first; None where it is the first, or has no such split.
    ``changes`` bring it to the first rank, and to the k-th where it is beyond. ``standing`` is there where a class was
    expected and the neighbors vote. ``notes`` are sentences about what is not known.
    """

    expected: Placed
    first: Placed
    among: int
    last: Placed | None
    contrast: Explanation | None
    changes: tuple[RankChange, ...]
    standing: ClassStanding | None
    notes: tuple[str, ...]

    @property
    def is_first(self) -> bool:
        """Whether nothing comes back before it."""
        return self.expected.rank == 1

    @property
    def margin(self) -> float:
        """How much more similar the first is than the expected image, at least 0; 0 where that is the first."""
        return self.first.similarity - self.expected.similarity

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer, the most important first; an edit that its forward pass contradicts says so first."""
        placed = f"{self.expected.name.partition(' ')[2]} is at rank {self.expected.rank} of {self.among}"
        if self.standing is not None:
            placed = f"The best of {self.standing.images} images of {self.standing.name}, {placed}"
        if self.is_first:
            answer = f"{placed}: it is the first already."
        else:
            answer = f"{placed}, {self.margin:.4g} less similar than the first ({self.first.name})."
        if self.last is not None:
            below = self.last.similarity - self.expected.similarity
            answer = f"{answer[:-1]} and {below:.4g} less than the last of {self.last.rank} neighbors."
        return (answer, *(str(change) for change in self.changes), *self._vote_words(), *self.notes)

    def _vote_words(self) -> tuple[str, ...]:
        if self.standing is None:
            return ()
        said = self.standing
        who = "wins the vote" if said.name == said.winner else f"does not win the vote, which goes to {said.winner}"
        return (
            f"{said.name} has {said.voters} of {said.neighbors} neighbors, {said.share:.1%} of the vote, and {who}.",
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __repr__(self) -> str:
        return f"Expectation({self.sentences[0]!r})"

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain values; what is not there is None."""
        contrast = self.contrast
        return {
            "expected": self.expected.as_json(),
            "first": self.first.as_json(),
            "images": self.among,
            "margin": self.margin,
            "last": None if self.last is None else self.last.as_json(),
            "contrast": None
            if contrast is None
            else {
                "score": float(contrast.exact_score),
                "cells": contrast.cells.tolist(),
                "bias": float(contrast.bias),
                "residual": float(contrast.residual),
            },
            "changes": [_change_json(change) for change in self.changes],
            "class": None if self.standing is None else vars(self.standing),
            "sentences": list(self.sentences),
        }


def _change_json(change: RankChange) -> dict[str, Any]:
    named = ("goal", "minimal", "rank_before", "rank_at_features", "rank_at_pixels", "found", "confirmed")
    return {**{name: getattr(change, name) for name in named}, "cells": [list(cell) for cell in change.cells]}


def why_not_first(
    retrieved: Retrieved,
    expected: Reference,
    *,
    rule: str | Rule | None = None,
    read: Read = read_image,
) -> Expectation:
    """Say where an expected image stands, what the first has over it, and what would bring it to the first rank.

    ``expected`` is a path or its last parts, an id or a class of the bank, with ``path:``, ``id:`` or ``class:`` before
    it where it could be several; of a class it is the best image, at whatever rank. What would bring it forward is the
    fewest cells of the query to remove, as ``RankChange`` says. ``rule`` is the vote that a class is judged by, NPID's
    weighted one if None. The neighbors of ``retrieved`` set k; its filters hold here, too. ``read`` gives the
    photograph of a path.

    Raises: ``LookupError`` with the nearest names where it is not in the bank; ``ValueError`` where it names several
    things or a filter leaves it out, or for a rule that is no vote; ``TypeError`` for neither a text nor an id.
    """
    meant = expected_rows(retrieved.bank, expected)
    row = _best_of(retrieved, meant)
    ahead = rows_ahead(
        retrieved.features.embedding.cpu(), retrieved.bank.rows, retrieved.bank.similarity, row, retrieved.allowed
    )
    placed, first = _placed(retrieved, row, len(ahead) + 1), _placed(retrieved, int(ahead[0]) if len(ahead) else row, 1)
    contrast: Explanation | None = None
    notes: list[str] = []
    changes: list[RankChange] = []
    k = len(retrieved.neighbors.indices)
    if not callable(getattr(retrieved.bank.compared_by, "form", None)):
        notes.append("What holds it back is not shown, because the similarity only compares and has no form to split.")
    elif len(ahead):
        contrast, notes = _contrast(retrieved, placed, first, read)
        changes = [rank_change(retrieved, row, ahead, goal) for goal in ((1, k) if 1 < k < placed.rank else (1,))]
    if retrieved.bank.verified is not None:
        notes.append(f"The rank is exact: all {_among(retrieved)} images were compared, without the index.")
    return Expectation(
        expected=placed,
        first=first,
        among=_among(retrieved),
        last=_placed(retrieved, int(ahead[k - 1]), k) if placed.rank > k else None,
        contrast=contrast,
        changes=tuple(changes),
        standing=_standing(retrieved, meant, rule) if meant.kind == "class" else None,
        notes=tuple(notes),
    )


def _among(retrieved: Retrieved) -> int:
    return len(retrieved.bank) if retrieved.allowed is None else int(retrieved.allowed.sum())


def _best_of(retrieved: Retrieved, meant: ExpectedRows) -> int:
    rows = meant.rows if retrieved.allowed is None else meant.rows[retrieved.allowed[meant.rows]]
    if not len(rows):
        raise Mistake(
            f"expected {'a class' if meant.kind == 'class' else 'an image'} that the search may return, but the "
            f"filters leave {meant.name} out; drop them."
        )
    bank = retrieved.bank
    found = similarities_to_all(retrieved.features.embedding.cpu(), bank.rows, bank.similarity, retrieved.allowed)[rows]
    near = rows[found >= found.max() - 1e-9 * abs(float(found.max()))]
    exact = similarities_to(retrieved.features.embedding.cpu()[None], bank.rows, near[None], bank.similarity)[0]
    return int(near[exact == exact.max()].min())


def _placed(retrieved: Retrieved, row: int, rank: int) -> Placed:
    bank, label = retrieved.bank, int(retrieved.bank.labels[row])
    query = retrieved.features.embedding.cpu()[None]
    return Placed(
        rank=rank,
        row=row,
        id=int(bank.ids[row]),
        path=bank.paths[row],
        label="" if label < 0 else class_name(bank, label),
        similarity=float(similarities_to(query, bank.rows, torch.tensor([[row]]), bank.similarity)),
        name=image_name(bank, row, rank),
        shown=shown_path(bank.paths[row], common_folder(bank.paths)),
    )


def _contrast(retrieved: Retrieved, expected: Placed, first: Placed, read: Read) -> tuple[Explanation, list[str]]:
    """Explain what the first has over the expected, on both sides where the images are still those of the bank."""
    choice = Choice(NearestNeighbor(), retrieved.bank.similarity, 0, 1)
    stored = beside(retrieved, _stored(retrieved, (first, expected)))
    margin = explain_compared(stored, "contrast", choice)[0]
    try:
        photographs: list[PIL.Image.Image] = [read(one.path) for one in (first, expected) if one.path]
    except (OSError, ValueError) as error:
        return margin, [f"Only the query's side is shown, because {error}"]
    if len(photographs) < 2:
        return margin, ["Only the query's side is shown, because the bank holds no paths."]
    try:
        both = _embedded(retrieved, photographs, (first, expected))
    except Mistake as error:  # each could be compared when the bank embedded it
        return margin, [f"Only the query's side is shown, because an image has changed since it was embedded: {error}"]
    with_maps = explain_compared(both, "contrast", choice)[0]
    if not torch.allclose(with_maps.similarities, margin.similarities, rtol=AGREEMENT, atol=AGREEMENT):
        return margin, [
            "Only the query's side is shown, because an image is not the one of the bank any more: its file has "
            "changed, or another encoder made the bank."
        ]
    return with_maps, []


def _stored(retrieved: Retrieved, placed: tuple[Placed, ...]) -> SupportSet:
    rows = torch.tensor([one.row for one in placed])
    embeddings = retrieved.bank.rows.take(rows).double()[:, None].to(retrieved.features.embedding.device)
    valid = torch.ones(len(rows), 1, dtype=torch.bool, device=embeddings.device)
    return SupportSet(embeddings, valid, tuple(one.name for one in placed))


def _embedded(retrieved: Retrieved, photographs: list[PIL.Image.Image], placed: tuple[Placed, ...]) -> Compared:
    images = retrieved.encoder.preprocess(photographs)
    supports: Mapping[str, torch.Tensor] = {one.name: image[None] for one, image in zip(placed, images, strict=True)}
    return compare(retrieved.encoder, retrieved.image, supports, retrieved.bank.similarity, warn_of_own=False)


def _standing(retrieved: Retrieved, meant: ExpectedRows, rule: str | Rule | None) -> ClassStanding | None:
    labels = retrieved.bank.labels[retrieved.neighbors.indices]
    if bool((labels < 0).any()):
        return None
    vote: Vote = KnnVote() if rule is None else named_vote(rule)
    decision = explain_retrieved(retrieved, "exact", vote).decision
    shares = vote.of(len(labels)).shares(decision.scores.double())
    allowed = meant.rows if retrieved.allowed is None else meant.rows[retrieved.allowed[meant.rows]]
    has = meant.name in decision.classes
    return ClassStanding(
        name=meant.name,
        images=len(allowed),
        voters=int(torch.isin(retrieved.neighbors.indices, allowed).sum()),
        neighbors=len(labels),
        share=float(shares[decision.classes.index(meant.name)]) if has else 0.0,
        winner=decision.name,
    )
