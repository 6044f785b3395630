"""Finer maps of images by pull-back: kept values of their forward pass, or the images, to run it again."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import at_hand
from fsl_explain.finer import Drawn
from fsl_explain.pullback.places import Grid
from fsl_explain.pullback.program import WayBack
from fsl_explain.pullback.rules import PullbackRule
from fsl_explain.pullback.steps import Node, Values

BYTES_TOGETHER = 256 * 2**20
"""What the values of images that are walked through together may take."""


@dataclass(frozen=True)
class Recorded:
    """A forward pass that was written down: the way back, and its values with the images first."""

    way: WayBack
    values: tuple[Tensor, ...]
    images: int

    def bytes_each(self) -> int:
        """Return how much memory the values of one image take."""
        taken = {value.data_ptr(): value.numel() * value.element_size() for value in self.values}
        return math.ceil(sum(taken.values()) / self.images)


@dataclass(frozen=True)
class Manner:
    """How maps are made finer: by which rule, whether biases stay apart, and how a forward pass is written down."""

    rule: PullbackRule
    is_apart: bool
    last: Grid
    grid: Grid
    bytes_each: int
    sources: tuple[Node, ...]  # where relevance ends in every forward pass of this size
    again: Callable[[Tensor], Recorded]


@dataclass(frozen=True)
class FinerMaps:
    """Finer maps of images, with any leading dimensions."""

    manner: Manner
    images: Float[Tensor, "*batch color height width"]
    way: WayBack | None = None  # None: only the images were kept
    values: tuple[Tensor, ...] = ()

    @property
    def grid(self) -> Grid:
        """Height and width of the finer cells."""
        return self.manner.grid

    @property
    def is_apart(self) -> bool:
        """Whether what the network's own biases carry is kept apart from the cells."""
        return self.manner.is_apart

    def drawn(
        self, shares: Float[Tensor, "*batch channel h w"], factors: Float[Tensor, "*queries _channel _h _w"]
    ) -> Drawn:
        """Carry back the shares of cells and channels, times factors of each channel, or of each cell and channel."""
        own = self.images.shape[:-3]
        leading = torch.broadcast_shapes(factors.shape[:-3], own)
        flat = shares.expand(*own, *shares.shape[-3:]).reshape(-1, *shares.shape[-3:])
        each = factors.expand(*leading, *factors.shape[-3:]).reshape(-1, len(flat), *factors.shape[-3:])
        arrived = shares.new_zeros(*each.shape[:2], *self.grid)
        left = torch.zeros_like(arrived)
        queries = max(1, self._together // max(1, len(flat)))
        for images, recorded in self._recorded((each != 0).flatten(start_dim=2).any(dim=-1).any(dim=0)):
            for start in range(0, len(each), queries):
                part = slice(start, start + queries)
                relevance = flat[images] * each[part][:, images]
                found = self._walked(recorded, relevance.flatten(0, 1))
                for kept, one in zip((arrived, left), found, strict=True):
                    kept[part, images] = one.unflatten(0, (-1, len(images))).to(kept)
        arrived, left = (one.reshape(*leading, *self.grid) for one in (arrived, left))
        return Drawn(arrived, left.sum(dim=(-2, -1))) if self.is_apart else Drawn(arrived + left, None)

    def reach(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what part of the share of each cell and channel arrives at the finer cells, wherever it does.

        The way back is linear in the relevance, so that the derivative of what arrives says it of all at once.
        """
        return self._reach

    @cached_property
    def _reach(self) -> Float[Tensor, "*batch channel h w"]:
        own = self.images.shape[:-3]
        found: list[Tensor] = []
        for _, recorded in self._recorded(torch.ones(own.numel(), dtype=torch.bool)):
            with torch.inference_mode(False), torch.enable_grad():
                size = (recorded.images, recorded.way.last.channels, *self.manner.last)
                ones = self._placed(recorded, torch.ones(size)).requires_grad_()
                arrived, _ = recorded.way.walk(ones, Values(recorded.values, recorded.images), self.manner.rule)
                found.append(at_hand(torch.autograd.grad(arrived.sum(), ones)[0]))
        together = torch.cat(found)
        return together.reshape(*own, *together.shape[1:])

    def parts(self) -> Sequence[Tensor]:
        """Return the images, and the values that were kept."""
        return self.images, *self.values

    def of(self, parts: Sequence[Tensor]) -> "FinerMaps":
        """Return the same with those of other images."""
        images, *values = parts
        return replace(self, images=images, values=tuple(values))

    def light(self) -> "FinerMaps":
        """Return the same with no more than the images kept."""
        return replace(self, way=None, values=())

    @property
    def _together(self) -> int:
        return max(1, BYTES_TOGETHER // max(1, 2 * self.manner.bytes_each))

    def _recorded(self, needed: Tensor) -> Iterator[tuple[Tensor, Recorded]]:
        """Yield the numbers of some of the images that are needed, and their forward pass."""
        chosen = needed.nonzero().flatten()
        leading = self.images.dim() - 3
        for part in chosen.split(self._together) if len(chosen) > 0 else ():
            if self.way is not None:
                kept = tuple(value.flatten(0, leading - 1) if leading else value[None] for value in self.values)
                if len(part) < len(needed):
                    kept = tuple(value[part.to(value.device)] for value in kept)
                yield part, Recorded(self.way, kept, len(part))
            else:
                images = self.images.reshape(-1, *self.images.shape[-3:])
                yield part, self.manner.again(images[part.to(images.device)])

    def _walked(self, recorded: Recorded, relevance: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.no_grad():
            placed = self._placed(recorded, relevance)
            arrived, left = recorded.way.walk(placed, Values(recorded.values, recorded.images), self.manner.rule)
        return at_hand(arrived), at_hand(left)

    def _placed(self, recorded: Recorded, relevance: Tensor) -> Tensor:
        """Put relevance where the values are, in their precision."""
        floats = [value for value in recorded.values if value.is_floating_point()]
        like = floats[0] if floats else relevance
        return relevance.to(like.device, torch.promote_types(like.dtype, torch.float32))
