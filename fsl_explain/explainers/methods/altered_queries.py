"""Queries that were altered, by a mask on their pixels or on their channels, and scored by the same decision."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.classifiers import combined
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.question import Pixels, Question


def pixels_of(question: Question) -> Pixels:
    """Return the queries' images and the encoder that embeds them.

    Raises: ``ValueError`` where only features were kept.
    """
    if question.pixels is None:
        raise Mistake(
            "this method asks the network again, so it needs the queries' pixels, but only their features were kept; "
            "use explain(), or a method that reads the activation maps, such as exact."
        )
    return question.pixels


def masked_embeddings(
    encoder: Encoder,
    images: Float[Tensor, "image color height width"],
    masks: Float[Tensor, "mask #image height width"],
    batch_size: int,
) -> Float[Tensor, "mask image embedding"]:
    """Embed every image under every mask in float64; a removed pixel becomes 0, the mean after preprocessing."""
    visible = masks.to(torch.promote_types(images.dtype, torch.float32))[:, :, None]
    masked = (images * visible).flatten(start_dim=0, end_dim=1)
    embedded = [encoder(part).embedding.double() for part in masked.split(batch_size)]
    return torch.cat(embedded).reshape(len(masks), len(images), -1)


def masked_scores(
    question: Question, masks: Float[Tensor, "mask #image height width"], batch_size: int
) -> Float[Tensor, "mask image"]:
    """Return the explained score of every query under every mask, queries in one list."""
    pixels = pixels_of(question)
    images = pixels.images.reshape(-1, *pixels.images.shape[-3:]).to(masks.device)
    embeddings = masked_embeddings(pixels.encoder, images, masks, batch_size)
    here = embeddings.to(question.query.embedding.device).reshape(len(masks), *question.target.shape, -1)
    return scores_of(question, here).reshape(len(masks), len(images))


def scores_of(
    question: Question, embeddings: Float[Tensor, "altered *batch embedding"]
) -> Float[Tensor, "altered *batch"]:
    """Return what the explained score would be had the queries these embeddings, all else the same.

    Raises: ``ValueError`` where an alteration leaves a vote without voters.
    """
    class_scores = question.rule.class_scores(embeddings, question.supports, question.similarity)
    scores = combined(question.explained.class_weights, class_scores)
    if not torch.isfinite(scores).all():
        raise Mistake(
            "an altered query has no neighbor of the explained class left, so its score is minus infinity; "
            "raise k, or use rule='mean-similarity'."
        )
    return scores


def ranges(count: int, size: int) -> Iterator[range]:
    """Cut the numbers below ``count`` into ranges of at most ``size``."""
    return (range(part.start, part.stop) for part in slices(count, size))
