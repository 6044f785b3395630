"""Gradients of the explained score at attention matrices: Chefer's generic relevance, and LeGrad.

Sources: Chefer, Gur, Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers", 2021; Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation
Sensitivity", 2024. Both are of any decision's score. Notation: A the attention of a block, ∇ the gradient of the score
at it, h its heads; (·)⁺ the positive part. A gradient does not add up, so there is no receipt.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.tokens.attentions import attend, pooled_by_attention
from fsl_explain.backbones.tokens.reading import POOLED, TokenReading
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.attention_rollout import on_grid, over_all_tokens, read_out_weights
from fsl_explain.explainers.methods.map_gradients import attribute_supports, explained_sum
from fsl_explain.explainers.methods.token_queries import ask_in_parts, expect_tokens, pooled_from, reading_of, saliency
from fsl_explain.explainers.question import Question


def relevance(
    read_out: Float[Tensor, "*batch token"], weighted: Sequence[Float[Tensor, "*batch token token"]]
) -> Float[Tensor, "*batch token"]:
    """Return r R of Chefer et al.'s Eqs. 5 and 6: R = I, then R ← R + Ā R from the first block to the last."""
    for one in reversed(weighted):
        read_out = read_out + (read_out[..., None, :] @ one).squeeze(-2)
    return read_out


def positive_gradients(
    gradients: Float[Tensor, "batch head asking token"],
) -> Float[Tensor, "batch token"]:
    """Return LeGrad's map of one block: (∇)⁺, its mean over heads and over the tokens that ask."""
    return gradients.clamp(min=0).mean(dim=(1, 2))


def _chefer(question: Question, encoder: Encoder, images: Tensor) -> Tensor:
    """Return r R over all blocks; attention that pools behind them gives r, its own (∇ ⊙ A)⁺."""
    reading = reading_of(encoder)
    heard = encoder.run(partial(attend, reading), images)
    with torch.enable_grad():
        pooled = question.pooling(heard.read.maps) if heard.read.pooled is None else heard.read.pooled
        score = explained_sum(question, question.head(pooled.clone()))
    matrices = [*heard.rows, *([] if heard.pool is None else [heard.pool])]
    gradients = _gradients(score, matrices)
    weighted = [(found * one.detach()).clamp(min=0).mean(dim=1) for found, one in zip(gradients, matrices, strict=True)]
    weights = read_out_weights(reading, heard).detach()
    if heard.pool is not None:
        weights[:, len(reading.parts.roles) :] = weighted.pop().mean(dim=1)
    return on_grid(reading, heard, relevance(weights, [over_all_tokens(one) for one in weighted]))


def _legrad(question: Question, encoder: Encoder, images: Tensor) -> Tensor:
    """Average the maps of all blocks, each of the score that the tokens behind it would have."""
    reading = reading_of(encoder)
    heard = encoder.run(partial(attend, reading), images)
    grid, total = heard.read.maps.shape[-2:], heard.rows[-1].new_zeros(heard.left[-1].shape[:2])
    for left, rows in zip(heard.left, heard.rows, strict=True):
        with torch.enable_grad():
            pooled, matrix = _behind(question, reading, left, rows, (grid[0], grid[1]))
            score = explained_sum(question, question.head(pooled.clone()))
        found = positive_gradients(*_gradients(score, [matrix]))
        total[:, total.shape[1] - found.shape[1] :] += found / len(heard.rows)
    return on_grid(reading, heard, total)


def _behind(
    question: Question, reading: TokenReading, left: Tensor, rows: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return what the tokens behind a block pool to, and the matrix that the gradient is taken at.

    As in the official code, all tokens' mean stands for a class token, whose own row would else be all that counts.
    """
    if reading.readout == POOLED:
        return pooled_by_attention(reading, left)
    return pooled_from(question, reading, left.mean(dim=1), left[:, len(reading.parts.roles) :], grid), rows


def _gradients(score: Tensor, matrices: Sequence[Tensor]) -> list[Tensor]:
    found: tuple[Tensor | None, ...] = (None,) * len(matrices)
    if score.requires_grad:
        found = torch.autograd.grad(score, list(matrices), retain_graph=True, allow_unused=True)
    if any(one is None for one in found):
        raise Mistake(
            "expected a score that depends on the attention of every block, but no gradient comes back to one; use "
            "attention or rollout, or a network that runs without torch.no_grad of its own."
        )
    return [one for one in found if one is not None]


def _attribute_chefer(question: Question) -> Attribution:
    return ask_in_parts(question, _chefer)


def _attribute_legrad(question: Question) -> Attribution:
    return ask_in_parts(question, _legrad)


CHEFER = Method(
    _attribute_chefer, attribute_supports, saliency, perturbs=True, needs_tokens=True, expects=expect_tokens
)
"""Gradient times attention, multiplied through all blocks, each with its residual connection."""
LEGRAD = Method(
    _attribute_legrad, attribute_supports, saliency, perturbs=True, needs_tokens=True, expects=expect_tokens
)
"""The gradient at the attention of every block, of the score that the tokens behind it would have."""
