"""XGrad-CAM: activation maps weighted by gradients, each cell's in proportion to its activation.

Source: Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", 2020.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.methods.map_gradients import ActivationMap, gradient_cam
from fsl_explain.traces import weighted_sum


def xgrad_cam(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Weight each map by Σ g A / Σ A over its cells.

    The map then sums to Σ g A over all cells and channels: the score itself where the score is linear in the maps.
    DEVIATION: a map that sums to 0 gets the weight 0, which the paper leaves open.
    """
    products, totals = (gradients * maps).sum(dim=(-2, -1)), maps.sum(dim=(-2, -1))
    weights = torch.where(totals == 0, 0, products / torch.where(totals == 0, 1, totals))
    return ActivationMap(weights, weighted_sum(maps, weights))


XGRAD_CAM = gradient_cam(xgrad_cam)
