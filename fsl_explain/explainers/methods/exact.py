"""Exact contributions of channels, cells and supports to a similarity decision.

Source: the four primitives (pooling shares, head linearization, similarity form, decision weights).
Notation: g = Σ_k w_k (M_k q'_k + u_k) is the effective reference, G and b the linearized head.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.encoder import Features
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.methods import integrated
from fsl_explain.explainers.methods.placed import by_channel, on_grid, placed_at
from fsl_explain.explainers.normalization import upsample_sum_kept
from fsl_explain.explainers.question import Question
from fsl_explain.heads import linearize
from fsl_explain.similarities import PairForm


def attribute(question: Question) -> Attribution:
    """Split the decision's score into one addend per query channel, or per query cell, and a bias.

    Channels sum to cells; both add up to the score with the bias. The bias is computed from its own
    formula, g·b + Σ_k w_k (v_k·q'_k + k_k) + the decision's constants. Exact at the last activation maps
    with norms and other gains frozen; it makes no claim about pixels. What has no such form is integrated.
    """
    if question.tail is not None:
        return integrated.attribute(question)
    weights, form, supports = question.weights.supports, question.form, question.compared.embeddings
    reference = question.reference
    head = linearize(question.head, question.query.pooled)
    pulled = head.pull_back(reference)
    beside = (weights * form.along_support(supports)).sum(dim=(-2, -1))
    along = question.drawn(question.query, pulled)
    channels, cells = question.by_channel(question.held(question.query) * pulled), along.cells
    if (placed := placed_at(form, weights, supports)) is not None:
        beside = beside - placed.sum(dim=(-2, -1))
        channels, cells = channels + by_channel(placed, channels.shape[-1]), cells + on_grid(placed, question, cells)
    return Attribution(
        contributions=channels,
        cells=cells,
        bias=sum(along.named.values(), (reference * head.offset).sum(dim=-1) + beside + question.fixed),
        named=along.named,
    )


def attribute_supports(question: Question) -> SupportAttribution:
    """Split the same score into one addend per cell of every support, and a bias of its own."""
    if question.tail is not None:
        return integrated.attribute_supports(question)
    features = question.supports.features
    if features is None:
        raise Mistake("the support side needs the supports' activation maps, but only embeddings were kept.")
    weights, form, query = question.weights.supports, question.form, question.query.embedding[..., None, None, :]
    references = weights[..., None] * form.on_support(query)
    head = linearize(question.head, features.pooled)
    offset, on_biases = head.offset, torch.zeros_like(weights)
    if bool(offset.any()):
        on_biases = form.with_supports(question.query.embedding, offset)
    bias = (weights * (on_biases + form.along_query(query))).sum(dim=(-2, -1))
    along = question.drawn(features, head.pull_back(references))
    bias = sum((value.sum(dim=(-2, -1)) for value in along.named.values()), bias + question.constant)
    return SupportAttribution(cells=along.cells, bias=bias)


def support_addends(
    question: Question,
) -> tuple[Float[Tensor, "*batch way shot"], Float[Tensor, "*batch way shot"]]:
    """Split each support's w_k S_k into what the query's cells hold, and what none of them holds.

    The former is w_k (M_k q'_k + u_k)·G z, summed over the supports the sum of the query's cells; the
    latter w_k ((M_k q'_k + u_k)·b + v_k·q'_k + k_k).
    """
    if question.tail is not None:
        return integrated.support_addends(question)
    head = linearize(question.head, question.query.pooled)
    beside = head.offset
    if question.holds_apart(question.query):
        beside = question.query.embedding - head.push_forward(question.held(question.query)[..., None, :]).squeeze(-2)
    form, weights, supports = question.form, question.weights.supports, question.compared.embeddings
    on_cells = form.with_query(question.query.embedding - beside, supports)
    on_bias = form.with_query(beside, supports) if bool(beside.any()) else torch.zeros_like(on_cells)
    placed = form.at_cells(supports) if isinstance(form, PairForm) else None
    if placed is not None:
        on_cells, on_bias = (part + sign * placed.sum(dim=(-2, -1)) for part, sign in ((on_cells, 1), (on_bias, -1)))
    return weights * on_cells, weights * (on_bias + form.along_support(supports))


def named_parts(features: Features) -> Mapping[str, Float[Tensor, "*batch channel"]]:
    """Return what no cell of the last maps holds of the pooled values, each part by what it stands for."""
    found = {} if features.trace is None else features.trace.named
    return {name: value.to(features.pooled) for name, value in found.items()}


EXACT = Method(attribute, attribute_supports, upsample_sum_kept, signed=True, draws_finer=True)
CONTRAST = Method(attribute, attribute_supports, upsample_sum_kept, signed=True, draws_finer=True, explains="contrast")
LOG_PROBABILITY = Method(
    attribute, attribute_supports, upsample_sum_kept, signed=True, draws_finer=True, explains="log-probability"
)
VERIFICATION = Method(
    attribute, attribute_supports, upsample_sum_kept, signed=True, draws_finer=True, explains="verification"
)
