"""Explanations of many decisions over neighbors, measured: localization, and what masking does to the similarity.

A query is masked once per method and rule, and once for all rules where the map depends on the query alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.batches import slices
from fsl_explain.engine import Part
from fsl_explain.evaluation.figures import Figure
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.masked_queries import Judge, Judged, join, judge
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels
from retrieval_explain.decisions.chosen_classes import Chosen
from retrieval_explain.decisions.questions import Voted
from retrieval_explain.evaluation.query_images import QueryImages

SCORE, MASKED = "score", "masked_score"


@dataclass(frozen=True)
class RuleFigures:
    """One rule's decisions and the figures of each method; those of wrong decisions are NaN, as the papers want it.

    AD and IC compare the query's mean similarity to the voters of its predicted class (``score``, also of wrong
    decisions) with the masked query's to the same voters (``masked_score``), whatever the rule. ``correct`` says
    whether the chosen class is the query's own. ``figures`` are by name, such as average_drop.
    """

    rule: str
    chosen: Chosen
    correct: Bool[Tensor, "query"]
    score: Float[Tensor, "query"]
    masked_score: Float[Tensor, "method query"]
    figures: dict[str, Float[Tensor, "method query"]]


@dataclass(frozen=True)
class Measuring:
    """How the maps of a bank's decisions are judged."""

    masking: str
    iou_threshold: float
    figures: tuple[Figure, ...]
    keeps_maps: bool = False


@dataclass(frozen=True)
class DecisionsToExplain:
    """Decisions by several rules over the same queries, which are explained piece by piece."""

    asked: QueryImages
    labels: Int[Tensor, "query"]
    voted: Mapping[str, Voted]  # by rule
    methods: Mapping[str, Method]
    measuring: Measuring
    opened: dict[int, "Piece"] = field(default_factory=dict)  # the last piece alone

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Return one method's figures of a piece, by rule and name; or with SCORE as the method the queries' scores."""
        piece, method = self._piece(part.made_of["piece"]), part.made_of["method"]
        if method == SCORE:
            return {f"{rule} {SCORE}": score for rule, score in piece.scores.items()}
        judged = piece.judged(self.methods[method])
        found = piece.measure(judged)
        values = {f"{rule} {name}": values for rule, of_rule in found.items() for name, values in of_rule.items()}
        return values | self._maps(method, judged, part.made_of["piece"])

    def _maps(self, name: str, judged: Mapping[str, Judged], number: int) -> dict[str, Tensor]:
        """Return the maps of a piece where they are kept; queries are numbered through all, rule after rule."""
        cells = [one.cells for one in judged.values() if one.cells is not None]
        if not cells:
            return {}
        piece, place = self._piece(number), self.asked.pieces[number]
        firsts = [len(self.labels) * list(self.voted).index(rule) + place.start for rule in judged]
        queries = [
            first + piece.correct[rule].nonzero()[:, 0]
            for (rule, one), first in zip(judged.items(), firsts, strict=True)
            if one.cells is not None
        ]
        return kept_maps(name, self.methods[name], torch.cat(cells), torch.cat(queries), piece.judging.size)

    def parts(self, settings: str) -> Iterator[Part]:
        """Take piece after piece by all methods, so that each is opened once."""
        for number, piece in enumerate(self.asked.pieces):
            images = self.asked.images[piece].tolist()
            for name in (SCORE, *self.methods):
                made_of = {"piece": number, "method": name, "images": images, "settings": settings}
                yield Part(f"queries-{piece.start:06}-{name}", made_of, f"piece {number}")

    def maps_of(self, part: Part) -> int:
        """Count the maps of a part: one per correct decision of a rule, or of any rule."""
        if part.made_of["method"] == SCORE:
            return 0
        right = torch.stack([one[self.asked.pieces[part.made_of["piece"]]] for one in self.correct.values()])
        apart = self.methods[part.made_of["method"]].uses_supports
        return int(right.sum() if apart else right.any(dim=0).sum())

    @property
    def correct(self) -> dict[str, Bool[Tensor, "query"]]:
        """Which queries each rule decides correctly."""
        return {rule: one.chosen.predicted == self.labels for rule, one in self.voted.items()}

    def join(self, found: Mapping[tuple[int, str], Mapping[str, Tensor]]) -> tuple[RuleFigures, ...]:
        """Put the results of all pieces and methods together."""
        pieces, names = range(len(self.asked.pieces)), [figure.name for figure in self.measuring.figures]

        def of(rule: str, name: str) -> Float[Tensor, "method query"]:
            rows = [[found[piece, method][f"{rule} {name}"] for piece in pieces] for method in self.methods]
            return torch.stack([torch.cat(row) for row in rows])

        return tuple(
            RuleFigures(
                rule=rule,
                chosen=self.voted[rule].chosen,
                correct=right,
                score=torch.cat([found[piece, SCORE][f"{rule} {SCORE}"] for piece in pieces]),
                masked_score=of(rule, MASKED),
                figures={name: of(rule, name) for name in names},
            )
            for rule, right in self.correct.items()
        )

    def _piece(self, number: int) -> "Piece":
        if number not in self.opened:
            self.opened.clear()
            place, how = self.asked.pieces[number], self.measuring
            store = self.asked.store(number)
            judging = Judge(
                self.asked.encoder,
                store,
                how.masking,
                how.iou_threshold,
                self.asked.batch_size,
                how.figures,
                how.keeps_maps,
            )
            voted = {rule: one.at(place) for rule, one in self.voted.items()}
            right = {rule: one[place] for rule, one in self.correct.items()}
            self.opened[number] = Piece(judging, voted, right)
        return self.opened[number]


@dataclass(frozen=True)
class Piece:
    """Some queries with their images, and their decisions."""

    judging: Judge  # its store's rows are the queries
    voted: Mapping[str, Voted]  # by rule
    correct: Mapping[str, Bool[Tensor, "query"]]

    def measure(self, of_rules: Mapping[str, Judged]) -> dict[str, dict[str, Float[Tensor, "query"]]]:
        """Write the figures of the correct decisions of every rule at their places."""
        measured = {}
        for rule, judged in of_rules.items():
            right = self.correct[rule].nonzero()[:, 0]
            masked = self._similarities(self.voted[rule], judged.embeddings, right)
            masked = masked if self.judging.masks else torch.full_like(masked, torch.nan)
            figures = judged.figures | self.judging.of_scores(self.scores[rule][right], masked)
            values = {MASKED: masked, **self.judging.in_order(figures)}
            measured[rule] = {name: _placed(one, self.correct[rule]) for name, one in values.items()}
        return measured

    @cached_property
    def scores(self) -> dict[str, Float[Tensor, "query"]]:
        """The mean similarity of every query to the voters of its predicted class, by rule."""
        kept = self.judging.store.embeddings.double()
        found = {}
        for rule, right in self.correct.items():
            # The right ones apart, in the same batches as when masked: an unchanged query has to keep its very score.
            score = kept.new_empty(len(right))
            for which in (right.nonzero()[:, 0], (~right).nonzero()[:, 0]):
                score[which] = self._similarities(self.voted[rule], kept[which], which)
            found[rule] = score
        return found

    def judged(self, method: Method) -> dict[str, Judged]:
        """Explain the correct decisions of every rule by a method, and judge the maps."""
        if method.uses_supports:
            return {rule: self._judge(method, one, self.correct[rule]) for rule, one in self.voted.items()}
        of_any_rule = torch.stack(list(self.correct.values())).any(dim=0)
        shared = self._judge(method, next(iter(self.voted.values())), of_any_rule)
        place = of_any_rule.cumsum(0) - 1
        return {rule: shared.at(place[right]) for rule, right in self.correct.items()}

    def _judge(self, method: Method, voted: Voted, which: Bool[Tensor, "query"]) -> Judged:
        queries, parts = which.nonzero()[:, 0], []
        for part in self.judging.groups(method, len(queries), voted.numbers_of_voters):
            group = queries[part]
            features = self.judging.store.features(group)
            question = voted.question(self.judging.encoder, features, group, method, self._pixels(method, group))
            parts.append(judge(self.judging, method, question, group))
        return join(self.judging, parts)

    def _pixels(self, method: Method, rows: Int[Tensor, "batch"]) -> Pixels | None:
        encoder = self.judging.encoder
        return Pixels(encoder, self.judging.store.images(rows)) if method.asks_for_pixels(encoder.pooling) else None

    def _similarities(
        self, voted: Voted, embeddings: Float[Tensor, "some channel"], queries: Int[Tensor, "some"]
    ) -> Float[Tensor, "some"]:
        parts = [
            voted.mean_similarity(embeddings[part], queries[part])
            for part in slices(len(queries), self.judging.batch_size)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _placed(values: Float[Tensor, "some"], where: Bool[Tensor, "query"]) -> Float[Tensor, "query"]:
    placed = torch.full((len(where),), torch.nan, dtype=torch.float64)
    placed[where] = values.double()
    return placed
