"""Grad-CAM: activation maps weighted by their mean gradients.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
"""

from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.methods.map_gradients import ActivationMap, gradient_cam, map_gradients
from fsl_explain.explainers.question import Question
from fsl_explain.traces import weighted_sum


def grad_cam(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Weight each map by the mean of the gradient over its cells (Grad-CAM Eqs. 1 and 2)."""
    weights = gradients.mean(dim=(-2, -1))
    return ActivationMap(weights, weighted_sum(maps, weights))


def channel_gradients(question: Question) -> Float[Tensor, "*batch channel"]:
    """Return a_n: the mean over cells of the derivative of the explained score by map n."""
    return map_gradients(question).mean(dim=(-2, -1)).double()


GRAD_CAM = gradient_cam(grad_cam)
