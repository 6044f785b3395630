"""The decisions of many episodes, from embeddings that are there already."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes import Episode
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet, is_local, needs_unlabeled
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
                    support_rows[part],
                    None if together is None else together[part],
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
        self,
        embeddings: Float[Tensor, "query embedding"],
        rows: Int[Tensor, "query way shot"],
        together: Int[Tensor, "query unlabeled"] | None = None,
    ) -> Float[Tensor, "query way"]:
        """Return the score of every class for given embeddings and the rows of their episodes' supports."""
        score, similarity = self.by.rule.class_scores, self.by.similarity
        if together is not None or not is_local(self.by.rule):
            return score(embeddings, self.supports(rows, together), similarity)
        # The cells of supports are many: they are gathered, and compared, once for all queries of an episode.
        episodes, episode_of = rows.unique(dim=0, return_inverse=True)
        scores = embeddings.new_empty(len(rows), rows.shape[1])
        for number in range(len(episodes)):
            asked = episode_of == number
            supports = self.supports(episodes[number : number + 1])
            shared = replace(supports, embeddings=supports.embeddings[0], valid=supports.valid[0])
            scores[asked] = score(embeddings[asked], shared, similarity)
        return scores

    def supports(
        self, rows: Int[Tensor, "query way shot"], together: Int[Tensor, "query unlabeled"] | None = None
    ) -> SupportSet:
        """Gather the supports of each query's episode, and all its queries where a rule looks at them."""
        valid = torch.ones(rows.shape[1:], dtype=torch.bool)
        found = supports_of(self.store, rows, valid, tuple(f"class {i}" for i in range(rows.shape[1])))
        return found if together is None else replace(found, unlabeled=self.store.embeddings[together].double())
