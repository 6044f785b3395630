"""Grad-CAM++: activation maps weighted by the positive part of their gradients, each cell at its own rate.

Source: Chattopadhyay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
Networks", 2018. Notation: g the derivative of the score S by an activation, A the activations of its channel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.methods.map_gradients import ActivationMap, gradient_cam
from fsl_explain.traces import weighted_sum


def grad_cam_plus_plus(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Weight each map by Σ α max(g, 0), α = g² / (2g² + g³ Σ A) (Grad-CAM++ Eqs. 5 and 19).

    The paper's score is exp(S), whose derivatives are exp(S) times the powers of g. That factor is one number for
    an image, which scaling the map removes, so the weights leave it out. α is computed as 1 / (2 + g Σ A), which
    no small gradient upsets. DEVIATION: where 2 + g Σ A is 0, as signed maps allow, α is 0; the paper assumes
    rectified maps.
    """
    denominators = 2 + gradients * maps.sum(dim=(-2, -1), keepdim=True)
    shares = gradients.clamp(min=0) / torch.where(denominators == 0, torch.inf, denominators)
    weights = shares.sum(dim=(-2, -1))
    return ActivationMap(weights, weighted_sum(maps, weights))


GRAD_CAM_PLUS_PLUS = gradient_cam(grad_cam_plus_plus)
