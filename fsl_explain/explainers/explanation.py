"""What an explainer is asked, what it answers, and the explanation a user gets."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import Decision, Rule, SupportSet
from fsl_explain.encoder import Features
from fsl_explain.explainers import picture
from fsl_explain.heads import Pooling
from fsl_explain.similarities import Similarity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Question:
    """One decision per query: its features, its supports, and the combination of class scores to explain.

    Embeddings and pooled values are in float64 whatever the network's dtype: a contrast is a small
    difference of large similarities, and its receipt has to survive that.
    """

    query: Features  # leading dimensions: *batch
    supports: SupportSet  # the same leading dimensions, or none: shared by all queries
    class_weights: Float[Tensor, "*batch way"]  # the explained score is Σ_c weight_c score_c
    target: Int[Tensor, "*batch"]
    rule: Rule
    similarity: Similarity
    pooling: Pooling
    head: torch.nn.Module


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
    contrastive: bool = False  # explains target minus rival instead of the target's score
    uses_supports: bool = True  # False: the map depends on the query alone
    signed: bool = False  # the saliency has a sign, and no scale


@dataclass(frozen=True)
class Explanation:
    """Why images were given their class: each channel's and each cell's share of the decision's score.

    All tensors are on the CPU. A batch of queries adds one leading dimension to every tensor but
    ``support_images``; index the explanation to get that of one query.
    """

    method: str
    decision: Decision
    target: int | Int[Tensor, "*batch"]  # the class whose score, or lead, is explained
    against: Float[Tensor, "*batch way"] | None  # share of each rival in the contrast (sums to 1); None: no contrast
    score: Float[Tensor, "*batch"]  # Δ, computed by the decision's own code
    contributions: Float[Tensor, "*batch channel"]  # signed; sum to score - bias for exact and contrast
    cells: Float[Tensor, "*batch h w"]  # before upsampling
    bias: Float[Tensor, "*batch"]  # what no channel and no cell holds, from its own formula
    saliency: Float[Tensor, "*batch height width"]
    support_cells: Float[Tensor, "*batch way shot _h _w"]  # NaN where there is no such support
    support_bias: Float[Tensor, "*batch"]
    image: Float[Tensor, "*batch 3 height width"]  # in [0, 1], for pictures
    support_images: Float[Tensor, "way shot 3 _height _width"] | None  # likewise, where images were given
    signed: bool

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
        alone = {"method", "decision", "support_images", "signed"}
        chosen: dict[str, Any] = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if field.name not in alone and getattr(self, field.name) is not None
        }
        label = self.decision.label
        decision = Decision(int(label[index]), self.decision.scores[index], self.decision.classes)  # type: ignore[index]
        return replace(self, **(chosen | {"decision": decision, "target": int(chosen["target"])}))

    def plot(self) -> "Figure":
        """Draw the query, its map, and the supports that were compared with it."""
        return picture.draw(self)

    def _repr_png_(self) -> bytes | None:
        return picture.as_png(self.plot()) if self.score.dim() == 0 else None
