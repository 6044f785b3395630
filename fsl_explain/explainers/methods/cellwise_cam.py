"""HiResCAM and LayerCAM: activations times their own cell's gradient, with no average over cells.

Sources: Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020; Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021.
"""

from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.methods.map_gradients import ActivationMap, gradient_cam


def hirescam(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Sum gradient times activation over channels; ``channels`` holds the sums over cells.

    Where the score is linear in the maps both add up to it, less its constant.
    """
    return _summed(gradients * maps)


def layercam(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Sum the gradient's positive part times activation over channels."""
    return _summed(gradients.clamp(min=0) * maps)


def _summed(products: Float[Tensor, "*batch channel h w"]) -> ActivationMap:
    return ActivationMap(products.sum(dim=(-2, -1)), products.sum(dim=-3))


HIRESCAM = gradient_cam(hirescam)
LAYERCAM = gradient_cam(layercam)
