"""Exact contributions of channels, cells and supports to a similarity decision.

Source: the four primitives (pooling shares, head linearization, similarity form, decision weights).
Notation: g = Σ_k w_k (M_k q'_k + u_k) is the effective reference, G and b the linearized head.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.explanation import Attribution, Method, Question, SupportAttribution
from fsl_explain.explainers.normalization import upsample_sum_kept
from fsl_explain.heads import linearize
from fsl_explain.similarities import Form


def attribute(question: Question) -> Attribution:
    """Split the decision's score into one addend per query channel, or per query cell, and a bias.

    Channels sum to cells; both add up to the score with the bias. The bias is computed from its own
    formula, g·b + Σ_k w_k (v_k·q'_k + k_k) + the rule's constant. Exact at the last activation maps
    with norms and other gains frozen; it makes no claim about pixels.
    """
    weights, constant = _weights(question)
    form = _form(question)
    reference = torch.einsum("...wk,...wkj->...j", weights, form.reference)
    head = linearize(question.head, question.query.pooled)
    pulled = head.pull_back(reference)
    bias = (reference * head.offset).sum(dim=-1) + (weights * form.constant).sum(dim=(-2, -1)) + constant
    return Attribution(
        contributions=question.query.pooled * pulled,
        cells=question.pooling.spread(question.query.maps, pulled),
        bias=bias,
    )


def attribute_supports(question: Question) -> SupportAttribution:
    """Split the same score into one addend per cell of every support, and a bias of its own."""
    features = question.supports.features
    if features is None:
        raise ValueError("the support side needs the supports' activation maps, but only embeddings were kept.")
    weights, constant = _weights(question)
    form = _form(question)
    references = weights[..., None] * form.support_reference
    head = linearize(question.head, features.pooled)
    bias = (references * head.offset).sum(dim=(-3, -2, -1)) + (weights * form.support_constant).sum(dim=(-2, -1))
    cells = question.pooling.spread(features.maps, head.pull_back(references))
    return SupportAttribution(cells=cells, bias=bias + constant)


def _weights(question: Question) -> tuple[Float[Tensor, "*batch way shot"], Float[Tensor, "*batch"]]:
    """Return the weight of each support's similarity in the explained score, and the constant."""
    weights, constant = question.rule.weights(question.supports, question.similarity)
    return question.class_weights[..., None] * weights, (question.class_weights * constant).sum(dim=-1)


def _form(question: Question) -> Form:
    supports = question.supports.embeddings
    query = question.query.embedding[..., None, None, :]
    pairs = torch.broadcast_shapes(query.shape, supports.shape)
    return question.similarity.form(query.expand(pairs), supports.expand(pairs))


EXACT = Method(attribute, attribute_supports, upsample_sum_kept, signed=True)
CONTRAST = Method(attribute, attribute_supports, upsample_sum_kept, signed=True, contrastive=True)
