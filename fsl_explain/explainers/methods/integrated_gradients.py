"""Integrated gradients of the pixels, from the image of zeros to the query: signed, and they add up.

Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017. Notation: x the preprocessed image, 0
the image whose preprocessed pixels are zero, which is the mean color where the mean is subtracted;
Δ(x) = Σ_k w_k S_k(x) + constants with the decision's weights w_k, which for a mean similarity is the score itself. Then
x ⊙ ∫₀¹ ∂Δ(ax)/∂x da sums to Δ(x) − Δ(0). The cells are the pixels; no channel of the last maps is accounted for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from episodes.position import position
from fsl_explain.classifiers import SupportSet, combined, has_own_form, similarities_to
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import pixels_of
from fsl_explain.explainers.methods.map_gradients import attribute_supports
from fsl_explain.explainers.methods.straight_path import STEPS, Integrated, StraightPath, integrate
from fsl_explain.explainers.methods.whole_network import AT_ONCE, WholeNetwork, expect_maps, maps_encoder
from fsl_explain.explainers.normalization import upsample_sum_kept
from fsl_explain.explainers.question import Question, expect_no_slope

AT_ZERO_IMAGE = "input of zeros (cells: pixels)"
"""The part of the score that the image of zeros has, too, so that no pixel holds it."""


@dataclass(frozen=True, kw_only=True)
class IntegratedGradientsOptions:
    """How finely is integrated: until the pixels and Δ(0) miss Δ(x) by at most a share of their absolute sum.

    A score of pixels is rough: of ReLU networks that were trained 128 steps miss some percent. Near each step the
    network is asked for two derivatives, because the path is cut where most is missed. The receipt says what is.
    ``missed`` is that share, between 0 and 1, ``steps`` the most that are taken.

    Raises: ``ValueError`` for a share that is not between 0 and 1, or fewer than 8 steps; ``TypeError`` for a fraction
    of a step.
    """

    missed: float = 0.05
    steps: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.missed < 1:
            raise Mistake(f"integrated gradients need missed between 0 and 1, but got {self.missed}; use 0.05.")
        if position(self.steps, "steps as a whole number") < STEPS[0]:
            raise Mistake(f"integrated gradients need at least {STEPS[0]} steps, but got {self.steps}; raise steps.")


def integrated_gradients_method(options: IntegratedGradientsOptions | None = None) -> Method:
    """Make a method of integrated gradients with options, those of the class if None, to be given to ``explain``.

    Its cells are the pixels of the image, summed over colors: signed, in the unit of the score, a negative one speaking
    against it. They sum to the score less that of an image of zeros, but for what the receipt says that the steps
    missed. It has no contributions.

    Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017.
    """
    return Method(
        partial(_attribute, options=options or IntegratedGradientsOptions()),
        attribute_supports,
        upsample_sum_kept,
        signed=True,
        perturbs=True,
        differentiates=True,
        expects=expect_maps,
        name="integrated-gradients",
        split_supports=split_supports,
    )


def of_one_query(question: Question, options: IntegratedGradientsOptions) -> Integrated:
    """Integrate along the pixels of the one query of a question."""
    image = pixels_of(question).images.detach().clone()[None]
    chosen = question.weights.supports != 0
    supports, weights = question.compared.embeddings[chosen], question.weights.supports[chosen]

    def score(embeddings: Float[Tensor, "node 1 embedding"]) -> Float[Tensor, "node"]:
        if has_own_form(question.rule):
            own = question.rule.class_scores(embeddings[:, 0], _copied(question.supports), question.similarity)
            return combined(question.explained.class_weights.clone(), own) + question.constant
        similarities = question.similarity.pairwise(embeddings[:, 0], supports.clone())
        return similarities @ weights.clone() + question.constant

    path = StraightPath(image, None, WholeNetwork(question), score, options.missed, options.steps, AT_ONCE)
    return integrate(path, question.explained.value)


def split_supports(
    question: Question,
) -> tuple[Float[Tensor, "*batch way shot"], Float[Tensor, "*batch way shot"]]:
    """Split each support's w_k S_k(x) into what the pixels hold, w_k (S_k(x) − S_k(0)), and what they do not."""
    weights, chosen = question.weights.supports, question.weights.supports != 0
    nothing = torch.zeros_like(pixels_of(question).images).reshape(-1, *pixels_of(question).images.shape[-3:])
    with torch.inference_mode(False), torch.no_grad():
        embedded = WholeNetwork(question)(nothing[:1].clone()).detach().to(question.query.embedding)
    embedding = embedded[0].expand(question.query.embedding.shape[:-1] + embedded.shape[-1:])
    at_zero = similarities_to(question.rule, embedding, question.supports, question.similarity)
    held, beside = question.similarities - at_zero, at_zero
    return tuple(torch.where(chosen, weights * one, 0) for one in (held, beside))  # type: ignore[return-value]


def _attribute(question: Question, options: IntegratedGradientsOptions) -> Attribution:
    maps_encoder(question)
    expect_no_slope(question, "integrated-gradients")
    with torch.inference_mode(False):
        found = [of_one_query(one, options) for one in _each(question)]
    leading, undefined = question.target.shape, question.undefined
    cells = torch.cat([one.addends.sum(dim=1) for one in found])
    at_zero = torch.stack([one.at_zero for one in found]).reshape(leading)
    return Attribution(
        undefined,
        cells.reshape(*leading, *cells.shape[-2:]).to(question.query.maps),
        at_zero,
        named={AT_ZERO_IMAGE: at_zero - question.constant},
        steps=torch.tensor([one.steps for one in found]).reshape(leading),
    )


def _each(question: Question) -> Iterator[Question]:
    if question.target.dim() == 0:
        yield question
        return
    yield from (question[index] for index in range(len(question.target)))


INTEGRATED_GRADIENTS = integrated_gradients_method()


def _copied(supports: SupportSet) -> SupportSet:
    return SupportSet(supports.embeddings.clone(), supports.valid.clone(), supports.classes)
