"""Ablation-CAM: activation maps weighted by what the score loses without each.

Source: Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
Localization", 2020. A channel reaches the embedding through its pooled value alone, so that no forward pass of the
network is needed: the head and the decision are asked once a channel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.backbones.capture import evaluating
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import ranges, scores_of
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.question import Question, expect_addends, expect_one_value_a_map, expect_pooling
from fsl_explain.traces import weighted_sum

EMBEDDINGS_AT_ONCE = 1024


def relative_drops(question: Question) -> Float[Tensor, "*batch channel"]:
    """Return (y − y_k) / |y| for each channel k: y is the explained score, y_k that with map k set to zero.

    DEVIATION: the paper divides by y, which would turn the sign of the map for a negative similarity.
    """
    expect_addends(question, "ablation-cam")
    expect_one_value_a_map(question, "ablation-cam")
    channels = question.query.pooled.shape[-1]
    at_once = max(1, EMBEDDINGS_AT_ONCE // max(1, question.target.numel()))
    score = question.explained.value
    ablated = torch.cat([_ablated_scores(question, numbers) for numbers in ranges(channels, at_once)])
    return ((score - ablated) / torch.where(score == 0, 1, score.abs())).movedim(0, -1)


def attribute(question: Question) -> Attribution:
    """Sum the maps with their relative drops and keep the positive part; no receipt: drops of a score do not add up."""
    weights = relative_drops(question)
    cells = weighted_sum(question.query.maps, weights).clamp(min=0)
    return Attribution(weights, cells, weights.new_zeros(weights.shape[:-1]))


def _ablated_scores(question: Question, numbers: range) -> Float[Tensor, "ablated *batch"]:
    maps, pooled = question.query.maps, question.query.pooled
    chosen = torch.zeros(len(numbers), pooled.shape[-1], dtype=torch.bool, device=pooled.device)
    chosen[range(len(numbers)), numbers] = True
    chosen = chosen.reshape(len(numbers), *(1,) * question.target.dim(), -1)
    with evaluating(question.head):
        without = question.pooling(torch.zeros_like(maps)).double()
        ablated = torch.where(chosen, without, pooled)
        embeddings = question.head(ablated.reshape(-1, pooled.shape[-1]).to(maps.dtype)).double()
    return scores_of(question, embeddings.reshape(*ablated.shape[:-1], -1))


def _expect_pooling(encoder: Encoder) -> None:
    expect_pooling(encoder.pooling, "ablation-cam")


ABLATION_CAM = Method(
    attribute, attribute_supports, saliency, of_one_value_a_map=True, pools=True, expects=_expect_pooling
)
