"""Cosine similarity: the one both papers evaluate."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.similarities.similarity import Form, uniform_weights


def pairwise(
    query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
) -> Float[Tensor, "*batch query gallery"]:
    """Return the cosine similarity, in [-1, 1], of every query to every gallery embedding."""
    return F.normalize(query, dim=-1) @ F.normalize(gallery, dim=-1).transpose(-1, -2)


def contributions(
    query: Float[Tensor, "*pairs channel"], support: Float[Tensor, "*pairs channel"]
) -> Float[Tensor, "*pairs channel"]:
    """Split the cosine similarity of each pair into one addend per channel (FAM Eq. 14).

    The addends of a pair sum to its cosine similarity. Each lies in [-1, 1]; a negative addend
    is a channel that speaks against the match.
    """
    return F.normalize(query, dim=-1) * F.normalize(support, dim=-1)


def form(query: Float[Tensor, "*pairs channel"], support: Float[Tensor, "*pairs channel"]) -> Form:
    """Write the cosine similarity as z'·q'/(‖z'‖‖q'‖) with both norms frozen; it has no constant."""
    scale = 1 / (query.norm(dim=-1, keepdim=True) * support.norm(dim=-1, keepdim=True))
    zero = scale.new_zeros(()).expand(scale.shape[:-1])
    return Form(reference=scale * support, constant=zero, support_reference=scale * query, support_constant=zero)


def prototype_weights(
    supports: Float[Tensor, "*classes shot channel"], valid: Bool[Tensor, "*classes shot"]
) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
    """Weigh each support by ‖q'_k‖ / (K ‖p'‖), p' the mean of the class's K supports; no constant."""
    uniform = uniform_weights(supports, valid)
    prototype = (uniform[..., None] * supports).sum(dim=-2)
    weights = uniform * supports.norm(dim=-1) / prototype.norm(dim=-1, keepdim=True)
    return weights, weights.new_zeros(weights.shape[:-1])
