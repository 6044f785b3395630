"""Grad-CAM of a similarity decision: the gradient of the explained score at the activation maps.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
The gradient starts at the maps, so that the network itself is not run again and its parameters are not touched.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.backbones.capture import evaluating
from fsl_explain.classifiers import SupportSet, combined
from fsl_explain.explainers.explanation import Attribution, Method, Question, SupportAttribution
from fsl_explain.explainers.normalization import max_scaled, upsample
from fsl_explain.heads.pooling import weighted_sum


def channel_gradients(question: Question) -> Float[Tensor, "*batch channel"]:
    """Return a_n: the mean over cells of the derivative of the explained score by map n."""
    leading = question.target.shape
    with evaluating(question.head), torch.inference_mode(False), torch.enable_grad():
        maps = question.query.maps.detach().clone().requires_grad_()
        pooled = question.pooling(maps)
        embedding = question.head(pooled.reshape(-1, pooled.shape[-1])).double()
        supports, weights = _ordinary(question.supports), question.explained.class_weights.clone()
        scores = question.rule.class_scores(embedding.reshape(*leading, -1), supports, question.similarity)
        (gradient,) = torch.autograd.grad(combined(weights, scores).sum(), maps)
    return gradient.mean(dim=(-2, -1)).double()


def attribute(question: Question) -> Attribution:
    """Sum the maps with their mean gradients and keep the positive part; no receipt: a gradient does not add up."""
    weights = channel_gradients(question)
    cells = weighted_sum(question.query.maps, weights).clamp(min=0)
    return Attribution(weights, cells, weights.new_zeros(weights.shape[:-1]))


def attribute_supports(question: Question) -> SupportAttribution:
    """Draw nothing on the supports: the gradient is taken at the query's maps."""
    shape = (*question.target.shape, *question.supports.valid.shape[-2:], *question.query.maps.shape[-2:])
    zeros = question.query.maps.new_zeros(shape)
    return SupportAttribution(zeros, zeros.new_zeros(question.target.shape))


def _ordinary(supports: SupportSet) -> SupportSet:
    """Return supports that a gradient may pass through, also where they were embedded in inference mode."""
    return SupportSet(supports.embeddings.clone(), supports.valid.clone(), supports.classes)


def saliency(cells: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch height width"]:
    """Enlarge bilinearly, then divide by the maximum."""
    return max_scaled(upsample(cells, size))


GRAD_CAM = Method(attribute, attribute_supports, saliency)
