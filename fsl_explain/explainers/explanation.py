"""What an explainer is asked, what it answers, and the explanation a user gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import Decision, Rule, SupportSet, Weights
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers import picture
from fsl_explain.explainers.explained_score import ExplainedScore, Quantity
from fsl_explain.explainers.receipt import Receipt, SupportLine
from fsl_explain.heads import Pooling
from fsl_explain.similarities import Similarity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Pixels:
    """The queries' preprocessed images and the encoder that embeds them, for methods that change the image."""

    encoder: Encoder
    images: Float[Tensor, "*batch 3 height width"]


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


@dataclass(frozen=True)
class Attribution:
    """The query side of an answer. NaN where a method does not split the score."""

    contributions: Float[Tensor, "*batch channel"]
    cells: Float[Tensor, "*batch h w"]
    bias: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class SupportAttribution:
    """The support side of an answer. Padding and supports without a say are 0."""

    cells: Float[Tensor, "*batch way shot h w"]
    bias: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class Method:
    """An explainer: how it attributes each side, and how its cells become a saliency of image size."""

    attribute: Callable[[Question], Attribution]
    attribute_supports: Callable[[Question], SupportAttribution]
    saliency: Callable[[Tensor, tuple[int, int]], Tensor]
    explains: Quantity = "score"  # which number of the decision is explained
    uses_supports: bool = True  # False: the map depends on the query alone
    signed: bool = False  # the saliency has a sign, and no scale
    perturbs: bool = False  # asks the network again about altered images, so the question needs their pixels
    name: str = ""  # of a method that is no entry of METHODS, for the explanation


@dataclass(frozen=True)
class Explanation:
    """Why images were given their class: each channel's and each cell's share of the decision's score.

    All tensors but those of ``question`` are on the CPU. A batch of queries adds one leading dimension to every tensor
    but ``support_images``; index the explanation to get that of one query.
    """

    method: str
    decision: Decision
    target: int | Int[Tensor, "*batch"]  # the class whose score, or lead, is explained
    against: Float[Tensor, "*batch way"] | None  # share of each rival in the contrast (sums to 1); None: no contrast
    score: Float[Tensor, "*batch"]  # Δ, computed by the decision's own code
    contributions: Float[Tensor, "*batch channel"]  # signed; sum to score - bias for exact and contrast
    cells: Float[Tensor, "*batch h w"]  # before upsampling; where the image was masked, its pixels
    bias: Float[Tensor, "*batch"]  # what no channel and no cell holds, from its own formula
    saliency: Float[Tensor, "*batch height width"]
    support_cells: Float[Tensor, "*batch way shot _h _w"]  # NaN where there is no such support, or no map of it
    support_bias: Float[Tensor, "*batch"]
    similarities: Float[Tensor, "*batch way shot"]  # S_k to each support, in float64; NaN where there is none
    support_weights: Float[Tensor, "*batch way shot"]  # w_k: score = Σ_k w_k S_k + Σ constants
    support_shares: Float[Tensor, "*batch way shot"]  # the part of w_k S_k that the query's cells hold
    support_biases: Float[Tensor, "*batch way shot"]  # the part of w_k S_k that none of them holds
    constants: Mapping[str, Float[Tensor, "*batch"]]  # each by what it stands for
    image: Float[Tensor, "*batch 3 height width"]  # in [0, 1], for pictures
    support_images: Float[Tensor, "way shot 3 _height _width"] | None  # likewise, where images were given
    signed: bool
    question: Question = field(repr=False)  # what was asked, for the support audit and the correspondence

    @property
    def residual(self) -> Float[Tensor, "*batch"]:
        """|score - (Σ contributions + bias)|: rounding for exact and contrast, what a method leaves out otherwise."""
        return (self.score - self.contributions.sum(dim=-1) - self.bias).abs()

    @property
    def absolute_sum(self) -> Float[Tensor, "*batch"]:
        """Σ |contributions| + |bias|: what the residual is to be compared with."""
        return self.contributions.abs().sum(dim=-1) + self.bias.abs()

    def __getitem__(self, index: int) -> "Explanation":
        """Return the explanation of one query of a batch."""
        if self.score.dim() == 0:
            raise TypeError("expected the explanation of a batch of queries, but this one is of a single query.")
        alone = {"method", "decision", "support_images", "signed", "constants"}
        chosen: dict[str, Any] = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if field.name not in alone and getattr(self, field.name) is not None
        }
        label = self.decision.label
        decision = Decision(int(label[index]), self.decision.scores[index], self.decision.classes)  # type: ignore[index]
        constants = {name: value[index] for name, value in self.constants.items()}
        chosen |= {"decision": decision, "target": int(chosen["target"]), "constants": constants}
        return replace(self, **chosen)

    def receipt(self) -> Receipt:
        """Add the score up, support by support, from the similarities, the decision's weights and its constants.

        Raises: ``ValueError`` for the explanation of a batch.
        """
        if self.score.dim() != 0:
            raise ValueError("expected the explanation of one query, but got that of a batch; index it.")
        weights, similarities = self.support_weights.tolist(), self.similarities.tolist()
        held, beside = self.support_shares.tolist(), self.support_biases.tolist()
        lines = tuple(
            SupportLine(name, shot, weight, similarities[label][shot], held[label][shot], beside[label][shot])
            for label, name in enumerate(self.decision.classes)
            for shot, weight in enumerate(weights[label])
            if weight != 0
        )
        constants = {name: float(value) for name, value in self.constants.items() if float(value) != 0}
        return Receipt(lines, constants, float(self.question.explained.value))

    def plot(self) -> "Figure":
        """Draw the query, its map, and the supports that were compared with it."""
        return picture.draw(self)

    def _repr_png_(self) -> bytes | None:
        return picture.as_png(self.plot()) if self.score.dim() == 0 else None
