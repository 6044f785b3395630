"""Questions about decisions over neighbors: the predicted class's voters and the runner-up's stand as supports.

A class's score depends on its own voters alone, so two classes answer for the decision over all of them.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import NeighborRule, SupportSet, Vote, mean_similarity
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.asking import Decided, Options, ask_about
from fsl_explain.explainers.explained_score import Quantity
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.similarities import Similarity, named_similarity
from retrieval_explain.decisions.chosen_classes import Chosen
from retrieval_explain.decisions.explained_neighbors import places_of

CLASSES = ("predicted", "runner-up")


@dataclass(frozen=True)
class Voted:
    """What a rule chose for each query, and the neighbors it chose from."""

    rule: NeighborRule
    similarity: str | Similarity
    chosen: Chosen
    neighbors: Int[Tensor, "query k"]  # rows of the gallery, nearest first
    labels: Int[Tensor, "query k"]  # their classes
    gallery: Float[Tensor, "gallery channel"]

    def at(self, part: slice) -> "Voted":
        """Take consecutive queries."""
        chosen = Chosen(**{name: values[part] for name, values in vars(self.chosen).items()})
        return replace(self, chosen=chosen, neighbors=self.neighbors[part], labels=self.labels[part])

    @property
    def numbers_of_voters(self) -> int:
        """How many numbers ``voters`` gathers for one query, at most."""
        return 2 * self.neighbors.shape[1] * self.gallery.shape[1]

    def voters(self, queries: Int[Tensor, "batch"]) -> SupportSet:
        """Gather the neighbors of the predicted class and of the runner-up, nearest first, in float64.

        Where neighbors do not vote, only the first of each class has a say. A runner-up that does not exist has
        no valid support.
        """
        classes = torch.stack([self.chosen.predicted[queries], self.chosen.runner_up[queries]], dim=1)
        places, valid = places_of(self.labels[queries], classes)
        if not isinstance(self.rule, Vote):
            places, valid = places[..., :1], valid[..., :1]
        rows = self.neighbors[queries].gather(1, places.flatten(1)).view_as(places)
        return SupportSet(self.gallery[rows].double(), valid, CLASSES)

    def question(
        self,
        encoder: Encoder,
        features: Features,
        queries: Int[Tensor, "batch"],
        explains: Quantity | Method,
        pixels: Pixels | None = None,
    ) -> Question:
        """Ask about some queries: the predicted class's score, or its lead over the runner-up.

        ``pixels`` are their images, for methods that ask the network again.
        """
        supports, similarity = self.voters(queries), named_similarity(self.similarity)
        scores = self.rule.class_scores(features.embedding, supports, similarity)
        ranking = self.rule.decision_scores(features.embedding, supports, similarity)
        decided = Decided(self.rule, similarity, scores, ranking, torch.zeros_like(queries))
        # The runner-up is known: it is the other one of the two classes, whatever their votes.
        return ask_about(explains, encoder, features, supports, decided, pixels, Options(runner_up_by=scores))

    def mean_similarity(
        self, embeddings: Float[Tensor, "batch channel"], queries: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch"]:
        """Return the mean similarity of given embeddings to the voters of each query's predicted class.

        It is what AD and IC compare, before and after masking, whatever the rule.
        """
        voters = self.voters(queries)
        predicted = SupportSet(voters.embeddings[:, :1], voters.valid[:, :1], CLASSES[:1])
        return mean_similarity.class_scores(embeddings, predicted, named_similarity(self.similarity))[:, 0]
