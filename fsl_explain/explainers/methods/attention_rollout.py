"""Attention as an explanation: that of the last block, and attention rollout through all of them.

Source: Abnar, Zuidema, "Quantifying Attention Flow in Transformers", 2020. Both know neither references nor decision.
Notation: A the attention of a block, its mean over heads; r the tokens that are read out, each with its weight.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.backbones.tokens.attentions import Attended, attend
from fsl_explain.backbones.tokens.reading import BOTH, MEAN, TokenReading
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.map_gradients import attribute_supports
from fsl_explain.explainers.methods.token_queries import ask_in_parts, expect_tokens, reading_of, saliency
from fsl_explain.explainers.question import Question


def rollout(
    read_out: Float[Tensor, "*batch token"], attentions: Sequence[Float[Tensor, "*batch token token"]]
) -> Float[Tensor, "*batch token"]:
    """Return how much of each first token is in what is read out: r Â_L … Â_1, with Â = (A + I) / 2, rows summing to 1.

    Where r sums to 1, so does the answer.
    """
    for attention in reversed(attentions):
        mixed = (attention + torch.eye(attention.shape[-1]).to(attention)) / 2
        read_out = (read_out[..., None, :] @ (mixed / mixed.sum(dim=-1, keepdim=True))).squeeze(-2)
    return read_out


def read_out_weights(reading: TokenReading, heard: Attended) -> Float[Tensor, "batch token"]:
    """Return the weight of each token behind the last block in what is read out; they sum to 1.

    A class token has 1, several share it, a mean is over patches, and both behind each other have half each;
    attention that pools gives its own weights, their mean over heads.
    """
    batch, tokens = heard.left[-1].shape[:2]
    prefix = len(reading.parts.roles)
    weights = heard.rows[-1].new_zeros(batch, tokens)
    if heard.pool is not None:
        weights[:, prefix:] = heard.pool.mean(dim=(1, 2))
        return weights
    of_patches = {MEAN: 1.0, BOTH: 0.5}.get(reading.readout, 0.0)
    weights[:, prefix:] = of_patches / (tokens - prefix)
    weights[:, list(reading.parts.queries)] += (1 - of_patches) / len(reading.parts.queries)
    return weights


def over_all_tokens(rows: Float[Tensor, "batch asking token"]) -> Float[Tensor, "batch token token"]:
    """Return a square matrix: tokens that a block does not let ask, behind those that it does, attend to nothing."""
    missing = rows.shape[-1] - rows.shape[-2]
    return torch.cat([rows, rows.new_zeros(len(rows), missing, rows.shape[-1])], dim=1)


def on_grid(reading: TokenReading, heard: Attended, tokens: Float[Tensor, "batch token"]) -> Float[Tensor, "batch h w"]:
    """Return the values of the patches on their grid."""
    grid: Tensor = tokens[:, len(reading.parts.roles) :].unflatten(-1, heard.read.maps.shape[-2:])
    return grid


def _last(_question: Question, encoder: Encoder, images: Tensor) -> Tensor:
    """Return r A of the last block, or r itself where attention pools behind it."""
    reading = reading_of(encoder)
    heard = encoder.run(partial(attend, reading), images)
    weights = read_out_weights(reading, heard)
    if heard.pool is None:
        weights = (weights[:, None] @ over_all_tokens(heard.rows[-1].mean(dim=1)))[:, 0]
    return on_grid(reading, heard, weights)


def _rolled_out(_question: Question, encoder: Encoder, images: Tensor) -> Tensor:
    reading = reading_of(encoder)
    heard = encoder.run(partial(attend, reading), images)
    attentions = [over_all_tokens(rows.detach().mean(dim=1)) for rows in heard.rows]
    return on_grid(reading, heard, rollout(read_out_weights(reading, heard).detach(), attentions))


def _attribute_last(question: Question) -> Attribution:
    return ask_in_parts(question, _last)


def _attribute_rollout(question: Question) -> Attribution:
    return ask_in_parts(question, _rolled_out)


ATTENTION = Method(
    _attribute_last,
    attribute_supports,
    saliency,
    uses_supports=False,
    perturbs=True,
    needs_tokens=True,
    expects=expect_tokens,
)
"""What the token that is read out attends to in the last block, the mean over heads."""
ROLLOUT = Method(
    _attribute_rollout,
    attribute_supports,
    saliency,
    uses_supports=False,
    perturbs=True,
    needs_tokens=True,
    expects=expect_tokens,
)
"""Attention multiplied through all blocks, each with its residual connection."""
