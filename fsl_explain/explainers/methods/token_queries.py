"""Queries whose network is asked again for what its tokens do: how methods for tokens find it, and what they answer."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.tokens.reading import BOTH, MEAN, POOLED, TokenReading
from fsl_explain.batches import slices
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution
from fsl_explain.explainers.methods.altered_queries import pixels_of
from fsl_explain.explainers.normalization import min_max_map, upsample
from fsl_explain.explainers.question import Question
from fsl_explain.readouts.cells import normalize

AT_ONCE = 8  # images whose graph is held

Asked = Callable[[Question, Encoder, Tensor], Float[Tensor, "batch h w"]]
"""From a question, the encoder and the images of the question's queries, in one list, to their cells."""


def ask_in_parts(question: Question, ask: Asked) -> Attribution:
    """Ask about a few queries at a time; no channel is accounted for, and nothing adds up.

    Raises: ``ValueError`` where only features were kept, or for an encoder without tokens.
    """
    pixels = pixels_of(question)
    reading_of(pixels.encoder)
    leading, pooled = question.target.shape, question.query.pooled
    parts = [question[part] for part in slices(leading[0], AT_ONCE)] if leading else [question]
    with torch.inference_mode(False), evaluating(pixels.encoder.network, question.head):
        found = [ask(part, pixels.encoder, _images(part)) for part in parts]
    cells = torch.cat([one.detach() for one in found])
    undefined = pooled.new_full(pooled.shape, float("nan"))
    return Attribution(undefined, cells.reshape(*leading, *cells.shape[-2:]).to(question.query.maps), undefined[..., 0])


def reading_of(encoder: Encoder) -> TokenReading:
    """Return how an encoder's tokens are read. Raises: ``ValueError`` for an encoder of other maps, or at scales."""
    if encoder.scales is not None:
        raise Mistake(
            f"this method reads the attention of one forward pass, but {encoder.description} sees each image more than "
            "once; use exact or contrast, or explain one scale at a time."
        )
    if encoder.tokens is None:
        raise Mistake(
            f"this method reads the tokens of a vision transformer, but {encoder.description} is read out from "
            "activation maps; use exact or contrast, or wrap a transformer without a layer."
        )
    return encoder.tokens


def expect_tokens(encoder: Encoder) -> None:
    """Refuse an encoder without tokens, or at scales. Raises: ``ValueError``."""
    reading_of(encoder)


def saliency(cells: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch height width"]:
    """Enlarge the cells, then rescale them to [0, 1]: the least of all is 0."""
    return min_max_map(upsample(cells, size))


def pooled_from(
    question: Question,
    reading: TokenReading,
    read_out: Float[Tensor, "batch channel"],
    patches: Float[Tensor, "batch patch channel"],
    grid: tuple[int, int],
) -> Float[Tensor, "batch pooled"]:
    """Return the pooled values of the question's readout, had it this token in place of each token that it reads out.

    A mean of patches, also one behind a class token, is that of ``patches``; attention pooling gives ``read_out``.
    """
    if reading.readout == MEAN:
        return question.pooling(patches.mT.unflatten(-1, grid))
    if reading.readout == POOLED:
        return read_out
    repeated = read_out.repeat(1, len(reading.parts.queries))
    if reading.readout != BOTH:
        return repeated
    return torch.cat([repeated, normalize(reading.parts.norm, patches).mean(dim=1)], dim=-1)


def _images(question: Question) -> Float[Tensor, "image color height width"]:
    """Return the images in one list, as tensors that a graph may keep."""
    images = pixels_of(question).images
    return images.reshape(-1, *images.shape[-3:]).clone()
