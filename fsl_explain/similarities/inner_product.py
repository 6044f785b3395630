"""Inner product."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.similarities.form import Form
from fsl_explain.similarities.similarity import uniform_weights
from fsl_explain.similarities.traits import InFloat32, Traits, unchanged


def pairwise(
    query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
) -> Float[Tensor, "*batch query gallery"]:
    """Return the inner product, of any sign and size, of every query with every gallery embedding."""
    return query @ gallery.transpose(-1, -2)


def contributions(
    query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]
) -> Float[Tensor, "*pairs channel"]:
    """Split the inner product of each pair into one addend per channel; a negative one speaks against the match."""
    return query * support


def form(query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> Form:
    """Write the inner product as itself: M is the identity, and there is no constant."""
    pairs = torch.broadcast_shapes(query.shape, support.shape)[:-1]
    return Form(scale=query.new_ones(pairs))


def prototype_weights(
    supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
    """Weigh every support alike: the inner product is linear in the prototype."""
    uniform = uniform_weights(supports, valid)
    return uniform, uniform.new_zeros(uniform.shape[:-1])


def _bounded(
    products: Float[Tensor, "*batch query row"],
    query: Float[Tensor, "*batch query channel"],
    lengths: Float[Tensor, "*batch row"],
    unit: float,
) -> tuple[Float[Tensor, "*batch query row"], Float[Tensor, "*batch query 1"]]:
    weight, largest = query.square().sum(dim=-1, keepdim=True), lengths.amax().square()
    return products, unit * (weight * largest).sqrt()


traits: Traits = Traits(
    inner_product_of=unchanged, is_affine_in_query=True, in_float32=InFloat32(Tensor.float, _bounded)
)
