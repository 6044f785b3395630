"""What explainers start from: a batch of queries and their supports, checked and embedded once."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import SupportSet
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.accepted_images import expected_colors, takes
from fsl_explain.explainers.support_groups import (
    Supports,
    Unlabeled,
    embedded,
    expect_preprocessed,
    gathered,
    unlabeled_embeddings,
)
from fsl_explain.heads.direction import length
from fsl_explain.scales import compared_at
from fsl_explain.similarities import SIMILARITIES, Similarity, is_without, similarity_name

NEARLY = 1e-3  # of the norm of an embedding: images of one batch and of another differ by rounding


class QueryAmongSupports(UserWarning):
    """A query is one of its own supports, so that its similarity to itself decides."""


@dataclass(frozen=True)
class Compared:
    """A batch of queries and their supports, embedded once, so that several methods can explain them."""

    encoder: Encoder
    queries: Float[Tensor, "batch color height width"]
    features: Features
    supports: SupportSet
    support_images: Float[Tensor, "way shot color _height _width"] | None

    @cached_property
    def visible_queries(self) -> Float[Tensor, "batch 3 height width"]:
        """The queries' pixels in [0, 1], on the CPU, for pictures."""
        return visible(self.encoder, self.queries.cpu())

    @cached_property
    def visible_supports(self) -> Float[Tensor, "way shot 3 _height _width"] | None:
        """The supports' pixels likewise, where images were given."""
        return None if self.support_images is None else visible(self.encoder, self.support_images.cpu())


def compare(
    encoder: Encoder,
    query: Tensor,
    supports: Supports,
    similarity: str | Similarity = "cosine",
    *,
    warn_of_own: bool = True,
    unlabeled: Unlabeled | None = None,
) -> Compared:
    """Embed queries and supports, checked as ``explain`` says; ``warn_of_own`` warns of a query among its supports."""
    queries = as_batch(query, encoder)
    features = embedded(encoder, queries).in_float64()
    found, support_images = gathered(encoder, supports, features.embedding.shape[-1])
    _check_embeddings(features.embedding, encoder, similarity, lambda query: f"query {query}")
    shots = found.embeddings.shape[1]
    _check_embeddings(
        found.embeddings.flatten(0, 1),
        encoder,
        similarity,
        lambda i: f"support {i % shots} of {found.classes[i // shots]}",
    )
    if unlabeled is not None:
        together = unlabeled_embeddings(encoder, unlabeled, features.embedding.shape[-1])
        _check_embeddings(together, encoder, similarity, lambda image: f"unlabeled image {image}")
        found = replace(found, unlabeled=together)
    if warn_of_own and support_images is not None:
        alike = encoder.scales is None or encoder.scales.support_sides is None
        _warn_of_own_images(queries, features.embedding, found, support_images, alike=alike)
    return Compared(encoder, queries, features, found, support_images)


def visible(
    encoder: Encoder, images: Float[Tensor, "*batch color height width"]
) -> Float[Tensor, "*batch 3 height width"]:
    """Undo the normalization of preprocessed images, for RGB pictures; without a known one, stretch each to [0, 1].

    One channel is shown in gray, two as their mean in gray, and of more than three the first three as RGB.
    """
    pixels = _denormalized(encoder, images)
    if pixels.shape[-3] < 3:
        return pixels.mean(dim=-3, keepdim=True).expand(*pixels.shape[:-3], 3, *pixels.shape[-2:]).contiguous()
    return pixels[..., :3, :, :].flip(-3) if encoder.bgr else pixels[..., :3, :, :]


def _denormalized(
    encoder: Encoder, images: Float[Tensor, "*batch color height width"]
) -> Float[Tensor, "*batch color height width"]:
    if encoder.normalization is None or len(encoder.normalization[0]) not in (1, images.shape[-3]):
        low = images.amin(dim=(-3, -2, -1), keepdim=True)
        high = images.amax(dim=(-3, -2, -1), keepdim=True)
        return (images - low) / (high - low).clamp(min=1e-12)
    mean, std = (images.new_tensor(values)[:, None, None] for values in encoder.normalization)
    return (images * std + mean).clamp(0, 1)


def as_batch(images: Tensor, encoder: Encoder) -> Float[Tensor, "batch color height width"]:
    """Check a preprocessed image or batch, and return a batch."""
    if not isinstance(images, Tensor):
        raise WrongType(f"expected a preprocessed tensor, but got {type(images).__name__}; use encoder.preprocess.")
    expect_preprocessed(encoder, images, "a query")
    if images.dim() not in (3, 4) or len(images) == 0 or not takes(encoder, images):
        colors = expected_colors(encoder)
        raise Mistake(
            f"expected an image ({colors}, H, W) or a batch (B, {colors}, H, W), but got shape {tuple(images.shape)}."
        )
    return (images if images.dim() == 4 else images[None]).detach()


def _check_embeddings(
    embeddings: Float[Tensor, "image channel"],
    encoder: Encoder,
    similarity: str | Similarity,
    named: Callable[[int], str],
) -> None:
    wrong = ~torch.isfinite(embeddings).all(dim=-1)
    if bool(wrong.any()):
        first = named(int(wrong.nonzero()[0, 0]))
        raise Mistake(f"the embedding of {first} is NaN or infinite; check the encoder's weights and this image.")
    found = SIMILARITIES.get(similarity) if isinstance(similarity, str) else similarity
    found = None if found is None else compared_at(encoder.scales, found)
    zero = None if found is None else is_without(found, embeddings)
    if found is not None and zero is not None and bool(zero.any()):
        name, first = similarity_name(found) or "such", named(int(zero.nonzero()[0, 0]))
        raise Mistake(f"the embedding of {first} is zero, which has no {name} similarity; use another image.")


def _warn_of_own_images(
    queries: Float[Tensor, "batch color height width"],
    embeddings: Float[Tensor, "batch channel"],
    supports: SupportSet,
    images: Float[Tensor, "way shot color _height _width"],
    *,
    alike: bool,
) -> None:
    """Say once where a query's very pixels are among the supports: its similarity to itself says nothing."""
    if queries.shape[1:] != images.shape[2:]:
        return
    near = supports.valid.expand(len(queries), *supports.valid.shape)
    if alike:  # otherwise an image has one embedding as a query and another one as a support
        apart = torch.cdist(embeddings, supports.embeddings.flatten(0, 1)).unflatten(1, supports.valid.shape)
        near = (apart <= NEARLY * length(embeddings)[:, None, None]) & near
    for query, way, shot in near.nonzero().tolist():
        if torch.equal(queries[query], images[way, shot].to(queries)):
            warnings.warn(
                f"query {query} is support {shot} of {supports.classes[way]}, pixel by pixel; leave it out of the "
                "supports, or the decision says only that an image is like itself.",
                QueryAmongSupports,
                stacklevel=4,
            )
            return
