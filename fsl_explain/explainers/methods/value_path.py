"""Value paths: the score that each patch would have, were its value in the last block all that is read out.

Source: Zhou, Loy, Dai, "Extract Free Dense Labels from CLIP" (MaskCLIP), 2022, which classifies these values by text;
without the residual stream and the MLP, as Lan et al., "ClearCLIP", 2024, found better. It changes the network, so it
says nothing of how the decision came about, and has no receipt.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from fsl_explain.backbones.tokens.values import patch_values
from fsl_explain.classifiers import pairwise_to_supports
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.map_gradients import attribute_supports
from fsl_explain.explainers.methods.token_queries import ask_in_parts, expect_tokens, pooled_from, reading_of, saliency
from fsl_explain.explainers.question import Question, expect_values_of_maps


def _scores(question: Question, encoder: Encoder, images: Tensor) -> Float[Tensor, "batch h w"]:
    """Return Σ_k w_k S(patch, support k), w_k the weights in the decision about the whole image.

    So a patch needs no voters of its own, and where all supports have a say it is the explained score of the patch.
    """
    reading = reading_of(encoder)
    values, grid = encoder.run(partial(patch_values, reading), images)
    alone = values.transpose(0, 1).flatten(0, 1)
    pooled = pooled_from(question, reading, alone, alone[:, None], (1, 1))
    embeddings = question.head(pooled).double().unflatten(0, (values.shape[1], *question.target.shape))
    similarities = pairwise_to_supports(embeddings, question.supports, question.similarity)
    scores = (question.weights.supports * similarities).sum(dim=(-2, -1))
    if question.slope is not None:
        scores = scores + (embeddings * question.slope).sum(dim=-1)
    cells: Tensor = scores.reshape(values.shape[1], len(values)).T.unflatten(-1, grid)
    return cells


def _attribute(question: Question) -> Attribution:
    expect_values_of_maps(question.rule, question.pooling, "value-path")
    return ask_in_parts(question, _scores)


VALUE_PATH = Method(
    _attribute,
    attribute_supports,
    saliency,
    perturbs=True,
    needs_tokens=True,
    of_one_value_a_map=True,
    expects=expect_tokens,
)
"""The similarity of each patch's value in the last block to the references."""
