"""Eigen-CAM: the first principal component of the activation maps; label-free, and without gradients.

Source: Muhammad, Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.methods.map_gradients import saliency
from fsl_explain.explainers.question import Question


def principal_map(maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch h w"]:
    """Project the activations of every cell on their first principal component, the one of the largest variance.

    DEVIATION: the paper projects on the first singular vector of the activations as they are; as in its common
    implementations every channel is centered over the cells first, without which one vector of a single sign
    stands for where anything is active at all. The sign of a component is arbitrary: ours is the one with which
    the map goes along with the mean activation map (their sum of products over cells is not below 0).
    """
    cells = maps.flatten(start_dim=-2).double()
    centered = cells - cells.mean(dim=-1, keepdim=True)
    first = _first_component(centered)
    along = (first * centered.mean(dim=-2)).sum(dim=-1, keepdim=True)
    signed: Tensor = torch.where(along < 0, -first, first)
    return signed.reshape(maps.shape[:-3] + maps.shape[-2:]).to(maps.dtype)


def _first_component(centered: Float[Tensor, "*batch channel cells"]) -> Float[Tensor, "*batch cells"]:
    """Return the projection of every cell, from the smaller of the two matrices of products."""
    if centered.shape[-2] < centered.shape[-1]:
        axes: Tensor = torch.linalg.eigh(centered @ centered.mT).eigenvectors[..., -1:]
        return (centered * axes).sum(dim=-2)
    variances, directions = torch.linalg.eigh(centered.mT @ centered)
    scores: Tensor = directions[..., -1] * variances[..., -1:].clamp(min=0).sqrt()
    return scores


def attribute(question: Question) -> Attribution:
    """Return the positive part of the map; the method has no channel weights, so contributions and bias are NaN."""
    undefined = question.undefined
    return Attribution(undefined, principal_map(question.query.maps).clamp(min=0), undefined[..., 0])


def attribute_supports(question: Question) -> SupportAttribution:
    """Return the positive part of every support's own map."""
    features = question.supports.features
    if features is None:
        raise Mistake("the support side needs the supports' activation maps, but only embeddings were kept.")
    batch = question.target.shape
    cells = principal_map(features.maps).clamp(min=0)
    return SupportAttribution(cells.expand(*batch, *cells.shape[-4:]), cells.new_full(batch, float("nan")))


EIGEN_CAM = Method(attribute, attribute_supports, saliency, uses_supports=False)
