"""Several sides of one image, seen by the same network, whose similarities are averaged: Δ = Σ_s a_s Δ_s.

The larger the image, the smaller a part of it each cell of the last maps sees; the smaller, the more of the scene.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.backbones.preprocessing import prepared_at
from fsl_explain.features import Features, joined
from fsl_explain.heads import GlobalAveragePooling, Pooling
from fsl_explain.heads.finer_at_scales import FinerAtScales
from fsl_explain.heads.finest_grid import PooledTrace, finest, maps_on_grid, on_finest_grid
from fsl_explain.heads.per_scale import PooledAtEachScale, per_scale
from fsl_explain.similarities import AtScales, Similarity
from fsl_explain.similarities.at_scales import mean_weights

Sees = TypeVar("Sees", bound="Scaled")
LARGEST_SIDE = 8192
MOST_SCALES = 8


@dataclass(frozen=True)
class Scales:
    """The ``sides`` in pixels at which an image is seen, and their ``weights`` in the mean, which sum to 1.

    The side is that of square images; of others it is the shorter one, and the aspect ratio stays. ``support_sides``
    are those of the supports that each side is compared with; None: the same.
    """

    sides: tuple[int, ...]
    weights: tuple[float, ...]
    support_sides: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls, sides: Sequence[int], weights: Sequence[float] | None = None, support_sides: Sequence[int] | None = None
    ) -> "Scales":
        """Check sides and weights; equal weights unless given, of which only the ratios count.

        ``support_sides`` has one side for all scales, or one for each.

        Raises: ``ValueError`` for sides below 1 or twice the same, too many, or weights or sides of supports that do
        not fit; ``TypeError`` for what are no whole numbers.
        """
        given = _whole(sides)
        if not 1 <= len(given) <= MOST_SCALES or len(set(given)) < len(given):
            raise Mistake(f"expected 1 to {MOST_SCALES} different scales, such as (224, 448), but got {given}.")
        made = cls(tuple(given), mean_weights(given, weights))
        if support_sides is None:
            return made
        shown = _whole(support_sides)
        if len(shown) not in (1, len(given)):
            raise Mistake(
                f"expected one side at which supports are seen, or one for each of the {len(given)} scales, but got "
                f"{shown}; give support_scales=({given[0]},), for example."
            )
        own = tuple(shown) if len(shown) == len(given) else tuple(shown) * len(given)
        return made if own == made.sides else replace(made, support_sides=own)

    @property
    def of_supports(self) -> "Scales":
        """The sides at which supports are seen, one for each scale."""
        return self if self.support_sides is None else Scales(self.support_sides, self.weights)

    @property
    def words(self) -> str:
        """Name the scales: ``scales 224 and 448``, with their weights where these differ, and the supports' sides."""
        equal = len(set(self.weights)) == 1
        named = [str(s) if equal else f"{s} (weight {a:.3g})" for s, a in zip(self.sides, self.weights, strict=True)]
        alike = self.support_sides is not None and len(set(self.support_sides)) == 1
        shown = [] if self.support_sides is None else self.support_sides[:1] if alike else self.support_sides
        beside = f", supports at {' and '.join(map(str, shown))}" if shown else ""
        return f"scale{'s' if len(named) > 1 else ''} {' and '.join(named)}{beside}"

    def similarity(self, similarity: Similarity) -> Similarity:
        """Return the mean over these scales of a similarity; one of these very scales stays as it is.

        Raises: ``ValueError`` for a similarity at other scales.
        """
        if not isinstance(similarity, AtScales):
            return AtScales.of(similarity, self.sides, self.weights)
        if (similarity.sides, similarity.weights) != (self.sides, self.weights):
            raise Mistake(
                f"expected a similarity at {self.words}, as the encoder sees images, but got one at "
                f"{Scales(similarity.sides, similarity.weights).words}; use encoder.at_scales with those."
            )
        return similarity

    def features(
        self,
        encoder: Callable[[Tensor], Features],
        pooling: Pooling,
        head: Callable[[Tensor], Tensor],
        images: Float[Tensor, "batch color height width"],
    ) -> Features:
        """Return the features of images at all scales: pooled values behind each other, and what a head makes of them.

        ``encoder`` sees images of one size, and ``pooling`` is its own. Maps are on the finest of the grids, each
        cell with the mean of what lies under it.

        Raises: ``ValueError`` for a network that does not take a side, or whose pooled values differ in number.
        """
        seen = {side: self._seen(encoder, images, side) for side in dict.fromkeys(self.sides)}
        found = [seen[side] for side in self.sides]
        widths = [one.pooled.shape[-1] for one in found]
        if len(set(widths)) > 1:
            raise Mistake(
                f"expected as many pooled values at every scale, but {type(pooling).__name__} makes "
                f"{' and '.join(map(str, widths))} at {self.words}; use pooling='gap'."
            )
        grid = finest([(one.maps.shape[-2], one.maps.shape[-1]) for one in found])
        traces = [one.trace or PooledTrace(pooling, one.maps, one.pooled) for one in found]
        plain = isinstance(pooling, GlobalAveragePooling) and all(one.trace is None for one in found)
        with torch.autocast(found[0].maps.device.type, enabled=False):
            pooled = torch.cat([one.pooled for one in found], dim=-1)
            maps = torch.cat([maps_on_grid(one.maps, grid) for one in found], dim=-3)
            trace = None if plain else on_finest_grid(traces)
            return Features(maps, pooled, head(pooled.clone()), trace, _finer(found, pooling))

    def _together(self, encoder: Callable[[Tensor], Features], count: int, side: int) -> int:
        """Return how many images are read at once: with about the pixels that all have at the smallest scale.

        More of them would leave the caches of a processor, and take half as long again. Where maps are drawn finer all
        are, so that what is kept of them has its one limit.
        """
        if getattr(encoder, "detail", None) is not None:
            return max(1, count)
        return max(1, int(count * (min(self.sides) / side) ** 2))

    def _seen(self, encoder: Callable[[Tensor], Features], images: Tensor, side: int) -> Features:
        seen = at_side(images, side)
        try:
            parts = [encoder(part) for part in seen.split(self._together(encoder, len(seen), side))]
            return parts[0] if len(parts) == 1 else joined(parts)
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            if isinstance(error, Mistake | torch.OutOfMemoryError):
                raise
            size = "×".join(map(str, seen.shape[-2:]))
            raise Mistake(
                f"expected a network that takes images of any size, but this one does not take {size}, the scale "
                f"{side}: {_first_line(error)}; leave this scale out, or use a network without a fixed size."
            ) from error


def _finer(found: Sequence[Features], pooling: Pooling) -> FinerAtScales | None:
    """Return what draws the maps of all scales finer. Raises: ``ValueError`` for a pooling of other than whole maps."""
    finers = [one.finer for one in found if one.finer is not None]
    if not finers:
        return None
    if found[0].pooled.shape[-1] != found[0].maps.shape[-3]:
        raise Mistake(
            f"detail at several scales needs one pooled value a map, but {type(pooling).__name__} makes "
            f"{found[0].pooled.shape[-1]} of {found[0].maps.shape[-3]}; use pooling='gap', or detail=0."
        )
    return FinerAtScales(pooling, tuple(one.maps for one in found), tuple(finers))


class Scaled:
    """What is seen at several scales, by the same network as at one."""

    scales: Scales | None = None  # None: images are seen as they are given
    single: Any = None  # the same encoder without scales, where there are some

    @property
    def of_supports(self: Sees) -> Sees:
        """The same encoder as it sees supports, where these are seen at sides of their own."""
        return self._with_scales(None if self.scales is None else self.scales.of_supports)

    @property
    def of_queries(self: Sees) -> Sees:
        """The same encoder as it sees queries, that has no other sides for supports."""
        return self._with_scales(None if self.scales is None else replace(self.scales, support_sides=None))

    def _with_scales(self: Sees, scales: Scales | None) -> Sees:
        changed = copy(self)
        changed.scales = scales
        return changed

    def at_scales(
        self: Sees,
        scales: Sequence[int],
        weights: Sequence[float] | None = None,
        support_scales: Sequence[int] | None = None,
    ) -> Sees:
        """Return an encoder that sees every image at several sides and puts the embeddings behind each other.

        ``scales`` are the sides of square images in pixels, of others the shorter one, the aspect ratio kept. Images
        are resized to each; ``preprocess`` prepares photographs at the largest. A tensor of 224 pixels holds no more
        detail at 448: it only makes the network's field of view smaller. A decision is the mean of those at each
        scale, with equal ``weights`` unless given: similarities by name are averaged over the scales. Cells have the
        finest grid. The network and the head are shared, each scale has the head alone.
        ``support_scales`` are the sides at which supports are seen, one for each scale or one for all, such as
        ``(224,)`` with scales ``(224, 448)``: then the query at either side is compared with supports at 224. None: at
        the query's. ``of_supports`` is the encoder that sees images so, for features that are given in their place.

        Raises: ``ValueError`` or ``TypeError`` for scales or weights that do not fit, and for an encoder whose
        embedding is integrated. A network that takes one size alone is refused when it sees another.
        """
        single: Any = self if self.single is None else self.single
        chosen = Scales.of(scales, weights, support_scales)
        if single.reading.tail.is_network:
            raise Mistake(
                f"expected embeddings that are sums over cells, but those of {single.description} are what its network "
                "returns and are integrated, which takes one scale; leave out tail='network' or readout='integrated'."
            )
        changed = copy(single)
        changed.single, changed.scales, changed.text_copies = single, chosen, len(chosen.sides)
        changed.head = per_scale(single.head, len(chosen.sides))
        changed.transform = prepared_at(single.transform, max(*chosen.sides, *chosen.of_supports.sides))
        if not isinstance(single.pooling, GlobalAveragePooling):
            changed.pooling = PooledAtEachScale(single.pooling)
        changed.description = f"{single.description}, at {chosen.words}"
        return cast("Sees", changed)


def seen_at(
    encoder: Sees,
    scales: Sequence[int] | None,
    weights: Sequence[float] | None = None,
    support_scales: Sequence[int] | None = None,
) -> Sees:
    """Return an encoder at scales, or as it is where none are given.

    Raises: as ``at_scales``; for weights, or sides of the supports, alone.
    """
    if scales is not None:
        return encoder.at_scales(scales, weights, support_scales)
    if weights is not None:
        raise Mistake("expected weights of scales together with the scales, but got the weights alone; give both.")
    if support_scales is not None:
        raise Mistake(
            "expected support_scales together with the scales of the query, but got support_scales alone; give both."
        )
    return encoder


def expect_all_alike(encoder: Scaled, where: str) -> None:
    """Refuse an encoder that sees supports at sides of their own where an image is not one or the other.

    Raises: ``ValueError``.
    """
    if encoder.scales is not None and encoder.scales.support_sides is not None:
        raise Mistake(
            f"{where} sees all images alike, but this encoder sees images at {encoder.scales.words}; leave "
            "support_scales out, or use explain, mosaics or compare."
        )


def compared_at(scales: Scales | None, similarity: Similarity) -> Similarity:
    """Return the similarity of images seen at scales, the mean over them; None: at one.

    Raises: ``ValueError`` for a similarity at other scales.
    """
    if scales is not None:
        return scales.similarity(similarity)
    if isinstance(similarity, AtScales):
        words = Scales(similarity.sides, similarity.weights).words
        raise Mistake(f"expected an encoder at {words}, as the similarity is; use encoder.at_scales.")
    return similarity


def at_side(
    images: Float[Tensor, "batch color height width"], side: int
) -> Float[Tensor, "batch color _height _width"]:
    """Resize images so that their shorter side is ``side`` pixels, bilinear and without aliasing; aspect kept."""
    height, width = images.shape[-2:]
    factor = side / min(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if size == (height, width):
        return images
    precise = images if images.dtype == torch.float64 else images.float()
    return F.interpolate(precise, size=size, mode="bilinear", align_corners=False, antialias=True).to(images.dtype)


def _whole(sides: Sequence[int]) -> list[int]:
    given: list[Any] = list(sides) if isinstance(sides, Iterable) else [sides]
    if not all(isinstance(side, Integral) and not isinstance(side, bool) for side in given):
        raise WrongType(f"expected scales in whole pixels, such as (224, 448), but got {given}.")
    if not all(1 <= side <= LARGEST_SIDE for side in given):
        raise Mistake(f"expected scales of 1 to {LARGEST_SIDE} pixels, such as (224, 448), but got {given}.")
    return [int(side) for side in given]


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
