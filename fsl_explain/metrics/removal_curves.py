"""How a score falls as pixels are removed in the order of a map, and how it rises as they are put back.

The score is a callable from preprocessed images to one number each, so that it may be a similarity, a class's
probability or the margin of a decision; it should run without gradients. One batch of images is scored at a time, so
that memory does not grow with the number of steps. Pixels go in the order of the positive part of the map; those of
equal value, such as all that a signed map speaks against, go in a random order that is the same for every map, so that
a map of all ones removes pixels at random.

A curve rewards a map for what the removal itself does to the network: holes with sharp edges look like nothing the
network was trained on, which is why every figure needs the way of removing pixels beside it.

References: Petsiuk, Das, Saenko, "RISE", 2018 (insertion and deletion); Samek et al., 2017 (pixel flipping).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.metrics.positive_part import positive_part, says_something, undefined_unless

ORDER_OF_TIES = 0
"""Seed of the order in which pixels of equal value go."""

Pixels = Float[Tensor, "batch color height width"] | Float[Tensor, "color 1 1"] | float
Score = Callable[..., Tensor]


@dataclass(frozen=True)
class RemovalCurve:
    """The score of each image after each step; NaN for an image whose map says nothing.

    ``shares`` are those of the pixels that are removed (deletion, ROAD) or put back (insertion), in [0, 1]; ``scores``
    are in the unit of the score.
    """

    shares: Float[Tensor, "step"]
    scores: Float[Tensor, "batch step"]

    @property
    def area(self) -> Float[Tensor, "batch"]:
        """The area under each curve from its first share to its last, by trapezoids, in units of the score.

        Insertion and deletion go from 0 to 1; the shares of ROAD do not reach the ends.
        """
        area: Tensor = torch.trapezoid(self.scores, self.shares.to(self.scores), dim=1)
        return area


@dataclass(frozen=True)
class Side:
    """Images with their maps, and what takes the place of a removed pixel (see ``removed_pixels``).

    ``images`` are as the network sees them. ``saliency`` has their size; larger is removed, or put back, first, and all
    that is not above 0 last.
    """

    images: Float[Tensor, "batch color height width"]
    saliency: Float[Tensor, "batch height width"]
    removed: Pixels = 0.0


def deletion(score: Score, *sides: Side, steps: int = 20) -> RemovalCurve:
    """Return the scores as the pixels of the largest values are removed first. A smaller area is better.

    With one side, ``score`` takes its images; with the two sides of a pair it takes both, and the same share of pixels
    is removed from each. The first score is that of the whole images.

    Raises:
        ValueError: steps is below 1, or the score is not one number for each image.
    """
    return _curve(score, sides, steps, lambda place, count: place >= count)


def insertion(score: Score, *sides: Side, steps: int = 20) -> RemovalCurve:
    """Return the scores as the pixels of the largest values are put back first. A larger area is better.

    Otherwise as ``deletion``. The last score is that of the whole images.

    Raises:
        ValueError: steps is below 1, or the score is not one number for each image.
    """
    return _curve(score, sides, steps, lambda place, count: place < count)


def removal_places(saliency: Float[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """Return the place of each pixel when the largest positive part goes first, from 0."""
    pixels = positive_part(saliency).flatten(1)
    shuffle = torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(ORDER_OF_TIES))
    shuffle = shuffle.to(saliency.device)
    order = shuffle[pixels[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(pixels.shape[1], dtype=torch.int32, device=saliency.device)
    empty = torch.empty(order.shape, dtype=torch.int32, device=saliency.device)
    return empty.scatter_(1, order, places.expand_as(order)).reshape(saliency.shape)


def one_score_each(scores: Tensor, images: int) -> Float[Tensor, "batch"]:
    """Return the scores of a batch of images.

    Raises:
        ValueError: they are not one number for each image.
    """
    if scores.shape != (images,):
        raise Mistake(
            f"expected one score for each of {images} images, but got scores of shape {tuple(scores.shape)}; "
            "let the score return one number per image."
        )
    return scores.detach()


def _curve(
    score: Score, sides: Sequence[Side], steps: int, kept: Callable[[Tensor, int], Bool[Tensor, "batch _ _"]]
) -> RemovalCurve:
    if steps < 1:
        raise Mistake(f"expected at least 1 step, but got {steps}; raise steps.")
    if not sides:
        raise Mistake("expected images with their maps, but got none; pass one Side, or two for a pair.")
    places = [removal_places(side.saliency) for side in sides]
    shares = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    scores = [
        one_score_each(score(*_images(sides, places, float(share), kept)), len(sides[0].images)) for share in shares
    ]
    defined = torch.stack([says_something(side.saliency) for side in sides]).all(dim=0).to(scores[0].device)
    return RemovalCurve(shares, torch.stack([undefined_unless(defined, values) for values in scores], dim=1))


def _images(
    sides: Sequence[Side],
    places: Sequence[Int[Tensor, "batch _ _"]],
    share: float,
    kept: Callable[[Tensor, int], Bool[Tensor, "batch _ _"]],
) -> Iterator[Float[Tensor, "batch color _ _"]]:
    for side, place in zip(sides, places, strict=True):
        count = round(share * place.flatten(1).shape[1])
        stays = kept(place, count)[:, None].to(side.images.device)
        removed = torch.as_tensor(side.removed, dtype=side.images.dtype, device=side.images.device)
        yield torch.where(stays, side.images, removed)
