"""What explainers start from: a batch of queries and their supports, checked and embedded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import SupportSet, padded_index, support_set
from fsl_explain.encoder import Encoder, Features
from fsl_explain.similarities import SIMILARITIES, Similarity, similarity_name, traits_of

Supports = Tensor | Features | Mapping[str, Tensor]


@dataclass(frozen=True)
class Compared:
    """A batch of queries and their supports, embedded once, so that several methods can explain them."""

    encoder: Encoder
    queries: Float[Tensor, "batch 3 height width"]
    features: Features
    supports: SupportSet
    support_images: Float[Tensor, "way shot 3 _height _width"] | None

    @cached_property
    def visible_queries(self) -> Float[Tensor, "batch 3 height width"]:
        """The queries' pixels in [0, 1], on the CPU, for pictures."""
        return visible(self.encoder, self.queries.cpu())

    @cached_property
    def visible_supports(self) -> Float[Tensor, "way shot 3 _height _width"] | None:
        """The supports' pixels likewise, where images were given."""
        return None if self.support_images is None else visible(self.encoder, self.support_images.cpu())


def compare(encoder: Encoder, query: Tensor, supports: Supports, similarity: str | Similarity = "cosine") -> Compared:
    """Embed queries and supports, checked as ``explain`` says."""
    for images in (query, *(supports.values() if isinstance(supports, Mapping) else (supports,))):
        _expect_normalized(encoder, images)
    queries = as_batch(query)
    features = encoder(queries)
    gathered, support_images = _gather(encoder, supports)
    _check_embeddings(features.embedding, "query", similarity)
    _check_embeddings(gathered.embeddings, "support", similarity)
    return Compared(encoder, queries, features.in_float64(), gathered, support_images)


def visible(encoder: Encoder, images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Undo the normalization of preprocessed images, for RGB pictures; without a known one, stretch each to [0, 1]."""
    pixels = _denormalized(encoder, images)
    return pixels.flip(-3) if encoder.bgr else pixels


def _denormalized(
    encoder: Encoder, images: Float[Tensor, "*batch 3 height width"]
) -> Float[Tensor, "*batch 3 height width"]:
    if encoder.normalization is None:
        low = images.amin(dim=(-3, -2, -1), keepdim=True)
        high = images.amax(dim=(-3, -2, -1), keepdim=True)
        return (images - low) / (high - low).clamp(min=1e-12)
    mean, std = (images.new_tensor(values)[:, None, None] for values in encoder.normalization)
    return (images * std + mean).clamp(0, 1)


def as_batch(images: Tensor) -> Float[Tensor, "batch 3 height width"]:
    """Check a preprocessed image or batch, and return a batch."""
    if not isinstance(images, Tensor):
        raise WrongType(f"expected a preprocessed tensor, but got {type(images).__name__}; use encoder.preprocess.")
    if images.dim() not in (3, 4) or images.shape[-3] != 3 or len(images) == 0:
        raise Mistake(f"expected an image (3, H, W) or a batch (B, 3, H, W), but got shape {tuple(images.shape)}.")
    return (images if images.dim() == 4 else images[None]).detach()


def _expect_normalized(encoder: Encoder, images: object) -> None:
    """Refuse whole numbers where the preprocessing is known to normalize: they have not gone through it."""
    if isinstance(images, Tensor) and not images.is_floating_point() and encoder.normalization is not None:
        raise WrongType(f"expected preprocessed pixels, but got a tensor of {images.dtype}; use encoder.preprocess.")


def _gather(encoder: Encoder, supports: Supports) -> tuple[SupportSet, Tensor | None]:
    if isinstance(supports, Features):
        if supports.embedding.dim() != 3:
            raise Mistake(
                f"expected support features with leading dimensions (way, shot), but got an embedding of shape "
                f"{tuple(supports.embedding.shape)}."
            )
        way, shot = supports.embedding.shape[:2]
        parts = (supports.maps, supports.pooled, supports.embedding)
        flat = Features(*(part.detach().flatten(0, 1) for part in parts))
        return support_set(flat, (shot,) * way, _numbered(way)), None
    groups = supports if isinstance(supports, Mapping) else _by_class(supports)
    _check_groups(groups)
    shots = tuple(len(images) for images in groups.values())
    stacked = torch.cat(list(groups.values())).detach()
    index, _ = padded_index(shots)
    return support_set(encoder(stacked), shots, tuple(groups)), stacked[index.to(stacked.device)]


def _check_groups(groups: Mapping[str, Tensor]) -> None:
    if not groups:
        raise Mistake("expected supports of at least one class, but got none.")
    for name, images in groups.items():
        if not isinstance(name, str):
            raise WrongType(
                f"expected class names as the keys of the supports, but got {name!r}, which could be taken for a "
                "position; use str(label)."
            )
        if not isinstance(images, Tensor):
            raise WrongType(
                f"expected a tensor (shot, 3, H, W) of supports for {name}, but got {type(images).__name__}; "
                "use encoder.preprocess."
            )
        if images.dim() != 4 or images.shape[1] != 3 or len(images) == 0:
            raise Mistake(
                f"expected supports (shot, 3, H, W) with at least one shot for {name}, "
                f"but got shape {tuple(images.shape)}."
            )
    sizes = {tuple(images.shape[-2:]): name for name, images in groups.items()}
    if len(sizes) > 1:
        listed = ", ".join(f"{height}×{width} ({name})" for (height, width), name in sizes.items())
        raise Mistake(f"expected supports of one size, but got {listed}; resize them alike.")


def _by_class(supports: Tensor) -> dict[str, Tensor]:
    if not isinstance(supports, Tensor):
        raise WrongType(
            "expected supports as a tensor (way, shot, 3, H, W), Features, or a mapping from class name to images, "
            f"but got {type(supports).__name__}; use torch.stack."
        )
    if supports.dim() != 5 or supports.shape[2] != 3:
        raise Mistake(f"expected supports of shape (way, shot, 3, H, W), but got {tuple(supports.shape)}.")
    return dict(zip(_numbered(len(supports)), supports, strict=True))


def _numbered(way: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(way))


def _check_embeddings(embeddings: Tensor, what: str, similarity: str | Similarity) -> None:
    if not torch.isfinite(embeddings).all():
        raise Mistake(f"the encoder gave NaN or infinite values for a {what} image; check its weights and input.")
    found = SIMILARITIES.get(similarity) if isinstance(similarity, str) else similarity
    if found is not None and traits_of(found).zero_has_none and (embeddings.norm(dim=-1) == 0).any():
        name = similarity_name(found) or "such"
        raise Mistake(f"a {what} image has a zero embedding, which has no {name} similarity; use another image.")
