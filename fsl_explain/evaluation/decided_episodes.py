"""The decisions of many episodes, from embeddings that are there already."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes import Episode
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet, needs_unlabeled
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.image_store import ImageStore
from fsl_explain.evaluation.masked_queries import supports_of
from fsl_explain.evaluation.measurement import Decisions


@dataclass(frozen=True)
class Queries:
    """Queries of many episodes in one list."""

    rows: Int[Tensor, "query"]
    support_rows: Int[Tensor, "query way shot"]
    scores: Tensor  # (query, way), float64
    target: Int[Tensor, "query"]  # the predicted class
    together: Int[Tensor, "query unlabeled"] | None = None  # all queries of the episode, for rules that look at them

    def at(self, index: Tensor | slice) -> "Queries":
        """Pick some."""
        together = None if self.together is None else self.together[index]
        return Queries(self.rows[index], self.support_rows[index], self.scores[index], self.target[index], together)


@dataclass(frozen=True)
class DecidedEpisodes:
    """Decides episodes over the images of a store, a batch of queries at a time."""

    store: ImageStore
    by: DecidedBy
    batch_size: int

    def decide(self, episodes: Sequence[Episode]) -> tuple[Decisions, Queries]:
        """Decide every query of the episodes."""
        classes = torch.stack([torch.from_numpy(episode.classes) for episode in episodes])
        support = torch.stack([torch.from_numpy(episode.support) for episode in episodes])
        image = torch.stack([torch.from_numpy(episode.query).flatten() for episode in episodes])
        n_query = image.shape[1] // classes.shape[1]
        truth = torch.arange(classes.shape[1]).repeat_interleave(n_query).expand(image.shape)
        rows = self.store.row_of[image].flatten()
        support_rows = self.store.row_of[support].repeat_interleave(image.shape[1], dim=0)
        together = None
        if needs_unlabeled(self.by.rule):
            together = self.store.row_of[image].repeat_interleave(image.shape[1], dim=0)
        scores = torch.cat(
            [
                self.scores_of(
                    self.store.embeddings[rows[part]].double(),
                    self.supports(support_rows[part], None if together is None else together[part]),
                )
                for part in slices(len(rows), self.batch_size)
            ]
        )
        two_best = scores.topk(2, dim=-1).values
        predicted = scores.argmax(dim=-1)
        decisions = Decisions(
            image=image,
            truth=truth.contiguous(),
            predicted=predicted.reshape(image.shape),
            truth_label=classes.gather(1, truth),
            predicted_label=classes.gather(1, predicted.reshape(image.shape)),
            score=scores.amax(dim=-1).reshape(image.shape),
            margin=(two_best[:, 0] - two_best[:, 1]).reshape(image.shape),
        )
        return decisions, Queries(rows, support_rows, scores, predicted, together)

    def scores_of(
        self, embeddings: Float[Tensor, "query embedding"], supports: SupportSet
    ) -> Float[Tensor, "query way"]:
        """Return the score of every class for given embeddings and the supports of their episodes."""
        return self.by.rule.class_scores(embeddings, supports, self.by.similarity)

    def supports(
        self, rows: Int[Tensor, "query way shot"], together: Int[Tensor, "query unlabeled"] | None = None
    ) -> SupportSet:
        """Gather the supports of each query's episode, and all its queries where a rule looks at them."""
        valid = torch.ones(rows.shape[1:], dtype=torch.bool)
        found = supports_of(self.store, rows, valid, tuple(f"class {i}" for i in range(rows.shape[1])))
        return found if together is None else replace(found, unlabeled=self.store.embeddings[together].double())
