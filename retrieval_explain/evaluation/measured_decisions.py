"""Explanations of many decisions over neighbors, measured: localization, and what masking does to the similarity.

A query is masked once per method and rule, and once for all rules where the map depends on the query alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.evaluation.masked_queries import Judge, Judged, join, judge
from fsl_explain.explainers.methods.lafam import LAFAM_OF_THE_TABLES
from fsl_explain.explainers.methods.named import METHODS
from retrieval_explain.decisions.chosen_classes import Chosen
from retrieval_explain.decisions.questions import Voted

Advance = Callable[[int], None]
LOCALIZATION = ("proportion", "intersection_over_union", "pointing_game")


@dataclass(frozen=True)
class RuleFigures:
    """One rule's decisions and the figures of each method; those of wrong decisions are NaN, as the papers want it.

    AD and IC compare the query's mean similarity to the voters of its predicted class with the masked query's to
    the same voters, whatever the rule.
    """

    rule: str
    chosen: Chosen
    correct: Bool[Tensor, "query"]
    score: Float[Tensor, "query"]  # the mean similarity, also of wrong decisions
    masked_score: Float[Tensor, "method query"]
    figures: dict[str, Float[Tensor, "method query"]]


@dataclass(frozen=True)
class DecisionsToExplain:
    """Decisions by several rules over the same queries, and what they are measured with."""

    judging: Judge  # its store's rows are the queries
    labels: Int[Tensor, "query"]
    voted: Mapping[str, Voted]  # by rule

    def measure(self, methods: tuple[str, ...], advance: Advance) -> tuple[RuleFigures, ...]:
        """Explain the correct decisions of every rule by every method; ``advance`` is told of maps done."""
        correct = _correct(self.voted, self.labels)
        of_any_rule = torch.stack(list(correct.values())).any(dim=0)
        by_method = {name: self._judged(name, correct, of_any_rule, advance) for name in methods}
        return tuple(
            self._figures(rule, right, {name: judged[rule] for name, judged in by_method.items()})
            for rule, right in correct.items()
        )

    def _judged(
        self, name: str, correct: Mapping[str, Tensor], of_any_rule: Bool[Tensor, "query"], advance: Advance
    ) -> dict[str, Judged]:
        """Judge one method for every rule."""
        if METHODS[name].uses_supports:
            return {rule: self._judge(name, one, correct[rule], advance) for rule, one in self.voted.items()}
        shared = self._judge(name, next(iter(self.voted.values())), of_any_rule, advance)
        place = of_any_rule.cumsum(0) - 1
        return {rule: shared.at(place[right]) for rule, right in correct.items()}

    def _judge(self, name: str, voted: Voted, which: Bool[Tensor, "query"], advance: Advance) -> Judged:
        method = LAFAM_OF_THE_TABLES if name == "lafam" else METHODS[name]
        parts = []
        for batch in self._batches(which.nonzero()[:, 0]):
            features = self.judging.store.features(batch)
            question = voted.question(self.judging.encoder, features, batch, method.explains)
            parts.append(judge(self.judging, method, question, batch))
            advance(len(batch))
        return join(parts) if parts else self._nothing()

    def _figures(self, rule: str, correct: Bool[Tensor, "query"], judged: Mapping[str, Judged]) -> RuleFigures:
        """Write each method's figures at the places of the correct decisions."""
        voted, right, wrong = self.voted[rule], correct.nonzero()[:, 0], (~correct).nonzero()[:, 0]
        kept = self.judging.store.embeddings.double()
        # The right ones apart, in the same batches as when masked: an unchanged query has to keep its very score.
        score = kept.new_empty(len(correct))
        score[right] = self._similarities(voted, kept[right], right)
        score[wrong] = self._similarities(voted, kept[wrong], wrong)
        masked = {name: self._similarities(voted, one.embeddings, right) for name, one in judged.items()}
        per_method = [
            {
                "average_drop": metrics.drops(score[right], masked[name]),
                "increase_in_confidence": metrics.increases(score[right], masked[name]),
                **one.figures,
            }
            for name, one in judged.items()
        ]
        return RuleFigures(
            rule,
            voted.chosen,
            correct,
            score,
            _placed(list(masked.values()), correct),
            {name: _placed([figures[name] for figures in per_method], correct) for name in per_method[0]},
        )

    def _similarities(
        self, voted: Voted, embeddings: Float[Tensor, "some channel"], queries: Int[Tensor, "some"]
    ) -> Float[Tensor, "some"]:
        parts = [
            voted.mean_similarity(embeddings[place], queries[place])
            for place in self._batches(torch.arange(len(queries)))
        ]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

    def _nothing(self) -> Judged:
        channels = self.judging.store.embeddings.shape[1]
        return Judged(torch.zeros(0, channels, dtype=torch.float64), {name: torch.zeros(0) for name in LOCALIZATION})

    def _batches(self, numbers: Int[Tensor, "some"]) -> Iterator[Int[Tensor, "_batch"]]:
        size = self.judging.batch_size
        return (numbers[start : start + size] for start in range(0, len(numbers), size))


def maps_in_all(methods: tuple[str, ...], voted: Mapping[str, Voted], labels: Int[Tensor, "query"]) -> int:
    """Count the maps that measuring takes: one per correct decision of a rule, or of any rule."""
    correct = torch.stack(list(_correct(voted, labels).values()))
    apart, together = int(correct.sum()), int(correct.any(dim=0).sum())
    return sum(apart if METHODS[name].uses_supports else together for name in methods)


def join_figures(parts: Sequence[RuleFigures]) -> RuleFigures:
    """Put the figures of consecutive queries together."""
    chosen = {name: torch.cat([getattr(part.chosen, name) for part in parts]) for name in vars(parts[0].chosen)}
    figures = {name: torch.cat([part.figures[name] for part in parts], dim=1) for name in parts[0].figures}
    return RuleFigures(
        rule=parts[0].rule,
        chosen=Chosen(**chosen),
        correct=torch.cat([part.correct for part in parts]),
        score=torch.cat([part.score for part in parts]),
        masked_score=torch.cat([part.masked_score for part in parts], dim=1),
        figures=figures,
    )


def _correct(voted: Mapping[str, Voted], labels: Int[Tensor, "query"]) -> dict[str, Bool[Tensor, "query"]]:
    return {rule: one.chosen.predicted == labels for rule, one in voted.items()}


def _placed(values: list[Tensor], where: Bool[Tensor, "query"]) -> Float[Tensor, "method query"]:
    placed = torch.full((len(values), len(where)), torch.nan, dtype=torch.float64)
    placed[:, where] = torch.stack(values).double()
    return placed
