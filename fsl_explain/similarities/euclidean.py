"""Negative squared Euclidean distance, so that larger is more alike."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.similarities.form import Form
from fsl_explain.similarities.similarity import uniform_weights
from fsl_explain.similarities.traits import InFloat32, Traits, unchanged


def pairwise(
    query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
) -> Float[Tensor, "*batch query gallery"]:
    """Return -‖q - g‖², at most 0, for every query and gallery embedding."""
    squares = query.square().sum(dim=-1)[..., :, None] + gallery.square().sum(dim=-1)[..., None, :]
    return -(squares - 2 * query @ gallery.transpose(-1, -2)).clamp(min=0)


def contributions(
    query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
) -> Float[Tensor, "*pairs channel"]:
    """Split -‖q - g‖² of each pair into one addend per channel, -(q_n - g_n)², at most 0."""
    # In place: with fewer large temporaries this takes two thirds of the time, and autograd keeps what it needs.
    return (query - support).square_().neg_()


def form(query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> Form:
    """Write -‖z' - q'‖² as 2 z'·q' - z'·z' - q'·q', with u = -z' and v = -q' frozen."""
    pairs = torch.broadcast_shapes(query.shape, support.shape)[:-1]
    return Form(scale=query.new_full(pairs, 2.0), query_slope=-query, support_slope=-support)


def prototype_weights(
    supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
    """Weigh every support alike and add the variance of the class, at least 0, which differs between classes."""
    uniform = uniform_weights(supports, valid)
    prototype = (uniform[..., None] * supports).sum(dim=-2, keepdim=True)
    variance = (uniform * (supports - prototype).square().sum(dim=-1)).sum(dim=-1)
    return uniform, variance


def _bounded(
    products: Float[Tensor, "*batch query row"],
    query: Float[Tensor, "*batch query channel"],
    lengths: Float[Tensor, "*batch row"],
    unit: float,
) -> tuple[Float[Tensor, "*batch query row"], Float[Tensor, "*batch query 1"]]:
    """Leave ‖q‖² out, which changes no order."""
    squares = lengths.square()[..., None, :]
    weight, largest = query.square().sum(dim=-1, keepdim=True), squares.amax()
    return products.mul_(2).sub_(squares), unit * (2 * (weight * largest).sqrt() + largest)


traits: Traits = Traits(distance_of=unchanged, is_affine_in_query=True, in_float32=InFloat32(Tensor.float, _bounded))
