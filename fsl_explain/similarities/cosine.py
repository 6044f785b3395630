"""Cosine similarity: the one both papers evaluate."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.heads.direction import direction, length
from fsl_explain.similarities.form import Form
from fsl_explain.similarities.similarity import uniform_weights
from fsl_explain.similarities.traits import InFloat32, Traits


def pairwise(
    query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
) -> Float[Tensor, "*batch query gallery"]:
    """Return the cosine similarity, in [-1, 1], of every query to every gallery embedding; that to a zero one is 0."""
    return direction(query) @ direction(gallery).transpose(-1, -2)


def contributions(
    query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
) -> Float[Tensor, "*pairs channel"]:
    """Split the cosine similarity of each pair into one addend per channel (FAM Eq. 14).

    The addends of a pair sum to its cosine similarity. Each lies in [-1, 1]; a negative addend
    is a channel that speaks against the match.
    """
    return direction(query) * direction(support)


def form(query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> Form:
    """Write the cosine similarity as z'·q'/(‖z'‖‖q'‖) with both norms frozen; it has no constant.

    That to a zero vector is 0, as ``pairwise`` says: local features have such cells.
    """
    norms = length(query) * length(support)
    return Form(scale=torch.where(norms > 0, 1 / torch.where(norms > 0, norms, 1), 0))


def prototype_weights(
    supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
    """Weigh each support by ‖q'_k‖ / (K ‖p'‖), p' the mean of the class's K supports; no constant.

    Supports that cancel to a zero mean have no say: the similarity to a zero vector counts 0.
    """
    uniform = uniform_weights(supports, valid)
    of_mean = length((uniform[..., None] * supports).sum(dim=-2))[..., None]
    weights = torch.where(of_mean > 0, uniform * length(supports) / torch.where(of_mean > 0, of_mean, 1), 0)
    return weights, weights.new_zeros(weights.shape[:-1])


def _direction_in_float32(query: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    return direction(query.double()).float()


def _bounded(
    products: Float[Tensor, "*batch query row"],
    query: Float[Tensor, "*batch query channel"],
    lengths: Float[Tensor, "*batch row"],
    unit: float,
) -> tuple[Float[Tensor, "*batch query row"], Float[Tensor, "*batch query 1"]]:
    positive = lengths.clamp(min=torch.finfo(lengths.dtype).tiny)  # to a zero row the product is 0
    return products.div_(positive[..., None, :]), torch.full_like(query[..., :1], 2 * unit)


traits: Traits = Traits(
    inner_product_of=direction,
    divides_by_norm=True,
    is_affine_in_query=True,
    zero_has_none=True,
    in_float32=InFloat32(_direction_in_float32, _bounded),
)
