"""What an explainer is asked: one decision per query, and the combination of class scores to explain."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import Rule, SupportSet, Weights
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.explained_score import ExplainedScore
from fsl_explain.heads import Pooling
from fsl_explain.similarities import Similarity


@dataclass(frozen=True)
class Pixels:
    """The queries' preprocessed images and the encoder that embeds them, for methods that change the image."""

    encoder: Encoder
    images: Float[Tensor, "*batch color height width"]


@dataclass(frozen=True)
class Question:
    """One decision per query: its features, its supports, and the combination of class scores to explain.

    Embeddings and pooled values are in float64 whatever the network's dtype: a contrast is a small
    difference of large similarities, and its receipt has to survive that.
    """

    query: Features  # leading dimensions: *batch
    supports: SupportSet  # the same leading dimensions, or none: shared by all queries
    explained: ExplainedScore
    ranking: Float[Tensor, "*batch way"]  # what the decision is the largest of
    target: Int[Tensor, "*batch"]
    rule: Rule
    similarity: Similarity
    pooling: Pooling
    head: torch.nn.Module
    pixels: Pixels | None = None  # None where only features were kept

    @cached_property
    def weights(self) -> Weights:
        """The weight of each support's similarity in the explained score, and the rule's constants."""
        weigh = self.rule.weights
        return weigh(self.explained.class_weights, self.query.embedding, self.supports, self.similarity)

    @property
    def constants(self) -> dict[str, Float[Tensor, "*batch"]]:
        """What no similarity holds, each by what it stands for."""
        return {**self.weights.constants, **self.explained.constants}

    @property
    def constant(self) -> Float[Tensor, "*batch"]:
        """The sum of the constants."""
        return sum(self.constants.values(), torch.zeros_like(self.explained.value))

    def spread(self, features: Features, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum what each cell wrote into the pooled values of images over channels, with one weight a channel."""
        if features.trace is None:
            return self.pooling.spread(features.maps, weights)
        return features.trace.spread(weights)

    def shares(self, features: Features) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell wrote into the pooled values."""
        return self.pooling.shares(features.maps) if features.trace is None else features.trace.addends()

    def __getitem__(self, index: int) -> "Question":
        """Return the question about one query of a batch."""
        shared = self.supports.embeddings.dim() == 3
        explained = self.explained
        return replace(
            self,
            query=self.query[index],
            supports=self.supports if shared else self.supports[index],
            explained=ExplainedScore(
                explained.value[index],
                explained.class_weights[index],
                {name: value[index] for name, value in explained.constants.items()},
                None if explained.rivals is None else explained.rivals[index],
            ),
            ranking=self.ranking[index],
            target=self.target[index],
            pixels=None if self.pixels is None else replace(self.pixels, images=self.pixels.images[index]),
        )
