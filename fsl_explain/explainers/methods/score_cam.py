"""Score-CAM: activation maps weighted by the score of the image seen through each.

Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", 2020. The score
may be that of any decision. Cosines differ little between channels, and the softmax is taken over all of them: with
many channels the weights are nearly equal, and the map is nearly LaFAM's mean map.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import masked_scores, pixels_of, ranges
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.normalization import min_max_map, upsample
from fsl_explain.explainers.question import Question
from fsl_explain.traces import weighted_sum

BATCH_SIZE = 32


def channel_weights(question: Question) -> Float[Tensor, "*batch channel"]:
    """Return each channel's weight: the softmax over channels of the score of the query seen through its map.

    The paper's increase over a black image differs from the score by the same amount for all channels, which the
    softmax cancels. A constant map shows the whole image.
    """
    maps = question.query.maps.reshape(-1, *question.query.maps.shape[-3:])
    at_once = max(1, BATCH_SIZE // len(maps))
    parts = [
        masked_scores(question, _masks(question, maps[:, numbers.start : numbers.stop]), BATCH_SIZE)
        for numbers in ranges(maps.shape[1], at_once)
    ]
    return torch.cat(parts).softmax(dim=0).T.reshape(question.query.maps.shape[:-2])


def attribute(question: Question) -> Attribution:
    """Sum the maps with their weights and keep the positive part; no receipt."""
    weights = channel_weights(question)
    cells = weighted_sum(question.query.maps, weights).clamp(min=0)
    return Attribution(weights, cells, weights.new_zeros(weights.shape[:-1]))


def _masks(question: Question, maps: Float[Tensor, "image channel h w"]) -> Float[Tensor, "channel image height width"]:
    """Enlarge each map to the image, then rescale it to [0, 1]."""
    height, width = pixels_of(question).images.shape[-2:]
    return min_max_map(upsample(maps, (height, width))).transpose(0, 1)


SCORE_CAM = Method(attribute, attribute_supports, saliency, perturbs=True)
