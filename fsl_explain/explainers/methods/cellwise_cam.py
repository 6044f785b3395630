"""HiResCAM and LayerCAM: activations times their own cell's gradient, with no average over cells.

Sources: Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020; Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021.
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.tokens.reading import OF_THE_CLASS_TOKEN
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.methods.map_gradients import ActivationMap, gradient_cam
from fsl_explain.readouts.cells import NormalizedCells

ROUNDING = 1e-4
NOTHING = (
    "expected gradient times activation to differ from 0 in some cell, but it sums to 0 in all of them, as where a "
    "layer norm reads the cells next, or a rule compares each by its cosine; use layercam, grad-cam or exact."
)


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


def hirescam_of_more_than_rounding(
    maps: Float[Tensor, "*batch channel h w"], gradients: Float[Tensor, "*batch channel h w"]
) -> ActivationMap:
    """Return HiResCAM's map, where it has one.

    What a layer norm reads next can be scaled without any change of the score. So gradient times activation sums to 0
    in every cell, and the map would be rounding alone.

    Raises: ``ValueError`` where that is so of all the maps.
    """
    products = gradients * maps
    largest = products.abs().sum(dim=-3)
    if bool((largest > 0).any()) and bool((products.sum(dim=-3).abs() <= ROUNDING * largest).all()):
        raise Mistake(NOTHING)
    return _summed(products)


def _summed(products: Float[Tensor, "*batch channel h w"]) -> ActivationMap:
    return ActivationMap(products.sum(dim=(-2, -1)), products.sum(dim=-3))


def _expect_no_norm(encoder: Encoder) -> None:
    """Refuse cells that a layer norm reads next: those of a class token's last block, and normalized ones."""
    of_class_token = encoder.tokens is not None and encoder.tokens.readout in OF_THE_CLASS_TOKEN
    if of_class_token or isinstance(encoder.pooling, NormalizedCells):
        raise Mistake(NOTHING)


HIRESCAM = replace(gradient_cam(hirescam_of_more_than_rounding), expects=_expect_no_norm)
LAYERCAM = gradient_cam(layercam)
