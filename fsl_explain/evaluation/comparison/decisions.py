"""The queries of a comparison, decided by supports that all of them share."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import SupportSet
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.image_store import ImageStore


@dataclass(frozen=True)
class ComparedDecisions:
    """The queries of a comparison, decided by the supports that all of them share."""

    store: ImageStore
    by: DecidedBy
    classes: tuple[str, ...]
    supports: Int[Tensor, "way shot"]  # data set indices
    queries: Int[Tensor, "query"]
    scores: Float[Tensor, "query way"]
    other: Int[Tensor, "query"]  # a class that is neither the predicted one nor, where there are three, its rival

    @classmethod
    def of(
        cls,
        store: ImageStore,
        by: DecidedBy,
        classes: tuple[str, ...],
        supports: Int[Tensor, "way shot"],
        queries: Int[Tensor, "query"],
        seed: int,
    ) -> "ComparedDecisions":
        """Decide all queries; ``seed`` draws the other classes."""
        undecided = torch.empty(len(queries), len(classes), dtype=torch.float64)
        run = cls(store, by, classes, supports, queries, undecided, queries)
        scores = run.scores_of(store.embeddings[store.row_of[queries]].double())
        return cls(store, by, classes, supports, queries, scores, _others(scores, seed))

    @property
    def predicted(self) -> Int[Tensor, "query"]:
        """The class of the largest score."""
        return self.scores.argmax(dim=-1)

    def scores_of(self, embeddings: Float[Tensor, "some embedding"]) -> Float[Tensor, "some way"]:
        """Return the score of every class for given embeddings."""
        return self.by.rule.class_scores(embeddings, self.support_set(len(embeddings)), self.by.similarity)

    def support_set(self, queries: int) -> SupportSet:
        """Return the supports for a number of queries."""
        embeddings = self.store.embeddings[self.store.row_of[self.supports]].double()
        valid = torch.ones(self.supports.shape, dtype=torch.bool)
        shape = (queries, *embeddings.shape)
        return SupportSet(embeddings.expand(shape), valid.expand(shape[:-1]), self.classes)


def _others(scores: Float[Tensor, "query way"], seed: int) -> Int[Tensor, "query"]:
    way = scores.shape[1]
    order = scores.argsort(dim=-1, descending=True, stable=True)
    skipped = 1 if way == 2 else 2
    drawn = np.random.default_rng(seed).integers(skipped, way, len(scores))
    return order.gather(1, torch.from_numpy(drawn)[:, None]).squeeze(1)
