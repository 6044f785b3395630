"""The supports of a comparison, by class: images, their features, or embeddings alone, such as prototypes."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet, padded_index, support_set
from fsl_explain.devices import at_hand, precise
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.accepted_images import expected_colors, takes
from fsl_explain.features import joined

Group: TypeAlias = Tensor | np.ndarray | Features
Supports: TypeAlias = Tensor | np.ndarray | Features | Mapping[str, Group]
Unlabeled: TypeAlias = Tensor | np.ndarray | Features

IMAGES_TOGETHER = 64
"""Images in one forward pass of an explanation."""


def embedded(encoder: Encoder, images: Float[Tensor, "image color height width"]) -> Features:
    """Return the features of images, a batch of at most ``IMAGES_TOGETHER`` at a time."""
    parts = [encoder(images[part]) for part in slices(len(images), IMAGES_TOGETHER)]
    return parts[0] if len(parts) == 1 else joined(parts)


def gathered(encoder: Encoder, supports: object, channels: int) -> tuple[SupportSet, Tensor | None]:
    """Return the supports of every class in one padded set, and their images where images were given.

    ``channels`` is the length of an embedding. Where embeddings alone are given the set has no features, so that
    nothing is said of the supports' regions.

    Raises: ``ValueError`` or ``TypeError`` for supports that do not fit, naming the class.
    """
    groups = _by_class(supports, encoder, channels)
    check_groups(groups)
    kinds = {name: _kind(group) for name, group in groups.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{kind} for {name}" for name, kind in kinds.items())
        raise Mistake(f"expected supports of one kind, but got {listed}; embed the images, or give images alone.")
    shots = tuple(_shots(group) for group in groups.values())
    features = {name: group for name, group in groups.items() if isinstance(group, Features)}
    if features:
        return support_set(_joined_features(features, channels), shots, tuple(groups)), None
    tensors = {name: group for name, group in groups.items() if not isinstance(group, Features)}
    if "embeddings" in kinds.values():
        _check_embeddings(tensors, channels, encoder)
        index, valid = padded_index(shots)
        flat = torch.cat([at_hand(group).detach().double() for group in tensors.values()])
        return SupportSet(flat[index.to(flat.device)], valid.to(flat.device), tuple(groups)), None
    _check_images(tensors, encoder)
    index, _ = padded_index(shots)
    stacked = torch.cat(list(tensors.values())).detach()
    return support_set(embedded(encoder.of_supports, stacked), shots, tuple(groups)), stacked[index.to(stacked.device)]


def unlabeled_embeddings(encoder: Encoder, unlabeled: object, channels: int) -> Float[Tensor, "unlabeled channel"]:
    """Return the embeddings of an episode's unlabeled images, in float64: of images, features or embeddings themselves.

    Raises: ``ValueError`` or ``TypeError`` for what does not fit.
    """
    group: Any = _as_group(unlabeled.embedding if isinstance(unlabeled, Features) else unlabeled)
    groups = {"the unlabeled images": group}
    if isinstance(group, Tensor) and group.dim() == 2:
        _check_embeddings(groups, channels, encoder)
        return precise(at_hand(group).detach())
    _check_images(groups, encoder)
    return precise(at_hand(embedded(encoder, group.detach()).embedding))


def check_groups(groups: Mapping[str, object]) -> None:
    """Refuse supports without a class, and classes without a name. Raises: ``ValueError`` or ``TypeError``."""
    if not groups:
        raise Mistake("expected supports of at least one class, but got none.")
    for name in groups:
        if not isinstance(name, str):
            raise WrongType(
                f"expected class names as the keys of the supports, but got {name!r}, which could be taken for a "
                "position; use str(label)."
            )


def expect_preprocessed(encoder: Encoder, images: Tensor, what: str) -> None:
    """Refuse whole numbers where the preprocessing is known to normalize: they have not gone through it.

    Raises: ``TypeError``.
    """
    if not images.is_floating_point() and encoder.normalization is not None:
        raise WrongType(
            f"expected preprocessed images for {what}, but got whole numbers ({images.dtype}); use encoder.preprocess."
        )


def _by_class(supports: object, encoder: Encoder, channels: int) -> dict[str, Any]:
    if isinstance(supports, Mapping):
        return {name: _as_group(group) for name, group in supports.items()}
    if isinstance(supports, Features):
        if supports.embedding.dim() != 3:
            raise Mistake(
                f"expected support features with leading dimensions (way, shot), but got an embedding of shape "
                f"{tuple(supports.embedding.shape)}."
            )
        way = len(supports.embedding)
        return dict(zip(_numbered(way), (supports[label] for label in range(way)), strict=True))
    given = torch.from_numpy(supports) if isinstance(supports, np.ndarray) else supports
    shape = f"(way, shot, {expected_colors(encoder)}, H, W)"
    if not isinstance(given, Tensor):
        raise WrongType(
            f"expected supports as a tensor {shape}, Features, or a mapping from class name to "
            f"images, but got {type(supports).__name__}; use torch.stack."
        )
    if given.dim() in (2, 3) and given.shape[-1] == channels:
        return dict(zip(_numbered(len(given)), given if given.dim() == 3 else given[:, None], strict=True))
    if given.dim() != 5 or (given.numel() > 0 and not takes(encoder, given.flatten(0, 1))):
        raise Mistake(
            f"expected supports of shape {shape}, or embeddings (way, shot, {channels}), but got {tuple(given.shape)}."
        )
    return dict(zip(_numbered(len(given)), given, strict=True))


def _as_group(group: object) -> object:
    given = torch.from_numpy(group) if isinstance(group, np.ndarray) else group
    return given[None] if isinstance(given, Tensor) and given.dim() == 1 else given


def _kind(group: object) -> str:
    if isinstance(group, Features):
        return "features"
    return "embeddings" if isinstance(group, Tensor) and group.dim() == 2 else "images"


def _shots(group: object) -> int:
    found = group.embedding if isinstance(group, Features) else group
    return len(found) if isinstance(found, Tensor) else 0


def _joined_features(groups: Mapping[str, Features], channels: int) -> Features:
    for name, group in groups.items():
        if group.embedding.dim() != 2 or group.embedding.shape[-1] != channels or len(group.embedding) == 0:
            raise Mistake(
                f"expected features (shot, …) with embeddings of {channels} channels for {name}, "
                f"but got an embedding of shape {tuple(group.embedding.shape)}."
            )
    return joined([_detached(group) for group in groups.values()])


def _detached(features: Features) -> Features:
    maps, pooled, embedding = (
        at_hand(value).detach() for value in (features.maps, features.pooled, features.embedding)
    )
    trace = features.trace
    kept = None if trace is None else trace.of([at_hand(part).detach() for part in trace.parts()])
    return Features(maps, pooled, embedding, kept, features.finer)


def _check_embeddings(groups: Mapping[str, Tensor], channels: int, encoder: Encoder) -> None:
    then = "." if encoder.text is None else "; give the projection that follows the image tower as its head=."
    for name, group in groups.items():
        if group.shape[-1] != channels or len(group) == 0:
            raise Mistake(
                f"expected embeddings (shot, {channels}) with at least one shot for {name}, as the encoder makes "
                f"them, but got shape {tuple(group.shape)}{then}"
            )
        if not group.is_floating_point():
            raise WrongType(f"expected embeddings for {name}, but got whole numbers ({group.dtype}); use floats.")


def _check_images(groups: Mapping[str, Any], encoder: Encoder) -> None:
    shape = f"(shot, {expected_colors(encoder)}, H, W)"
    for name, images in groups.items():
        if not isinstance(images, Tensor):
            raise WrongType(
                f"expected a tensor {shape} of supports for {name}, but got {type(images).__name__}; "
                "use encoder.preprocess."
            )
        expect_preprocessed(encoder, images, name)
        if images.dim() != 4 or len(images) == 0 or not takes(encoder, images):
            raise Mistake(
                f"expected supports {shape} with at least one shot for {name}, but got shape {tuple(images.shape)}."
            )
    sizes = {tuple(images.shape[-2:]): name for name, images in groups.items()}
    if len(sizes) > 1:
        listed = ", ".join(f"{height}×{width} ({name})" for (height, width), name in sizes.items())
        raise Mistake(f"expected supports of one size, but got {listed}; resize them alike.")


def _numbered(way: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(way))
