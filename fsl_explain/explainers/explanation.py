"""The explanation a user gets: each channel's and each cell's share of a decision's score, and its receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import Decision
from fsl_explain.explainers.receipt import Receipt, SupportLine

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from fsl_explain.explainers.question import Question


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
            raise WrongType("expected the explanation of a batch of queries, but this one is of a single query.")
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
            raise Mistake("expected the explanation of one query, but got that of a batch; index it.")
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
        figure: Figure = _pictures().draw(self)
        return figure

    def _repr_png_(self) -> bytes | None:
        if self.score.dim() != 0:
            return None
        png: bytes = _pictures().as_png(self.plot())
        return png


def _pictures() -> ModuleType:
    """Load what draws only when something is drawn: pictures stand above the explanations, and bring matplotlib."""
    return import_module("fsl_explain.pictures.picture")
