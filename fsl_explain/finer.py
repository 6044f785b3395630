"""What draws finer maps than the last ones: relevance of the last maps, carried back into the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake

OWN_BIASES = "the network's own biases"


@dataclass(frozen=True)
class Drawn:
    """``cells`` on a finer grid, and what is ``apart``, the sum of what has no place there; None: all of it has one."""

    cells: Float[Tensor, "*batch h w"]
    apart: Float[Tensor, "*batch"] | None


@runtime_checkable
class Finer(Protocol):
    """Finer maps of images, with any leading dimensions.

    Law: what ``drawn`` returns, cells and what is apart, sums to the relevance, shares times factors.
    """

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the finer cells."""
        ...

    @property
    def is_apart(self) -> bool:
        """Whether what the network's own biases carry is kept apart from the cells."""
        ...

    def drawn(
        self, shares: Float[Tensor, "*batch channel h w"], factors: Float[Tensor, "*queries _channel _h _w"]
    ) -> Drawn:
        """Carry back the shares of cells and channels, times factors of each channel, or of each cell and channel.

        Leading dimensions broadcast; ``_channel``, ``_h`` and ``_w`` are 1 or those of the shares.
        """
        ...

    def reach(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what part of the share of each cell and channel arrives at the finer cells, wherever it does.

        It has no bound where a rule sets off what it gives with what it takes; under ``abs`` it is from 0 to 1.
        """
        ...

    def parts(self) -> Sequence[Tensor]:
        """Return the tensors it is made of, each with the leading dimensions."""
        ...

    def of(self, parts: Sequence[Tensor]) -> "Finer":
        """Return the same with other tensors, of other images."""
        ...

    def light(self) -> "Finer":
        """Return the same with no more than the images kept."""
        ...


def one_behind_another(finers: Sequence[Finer | None]) -> Finer | None:
    """Join those of batches of images. Raises: ``ValueError`` where some are there and others are not."""
    there = [one for one in finers if one is not None]
    if not there:
        return None
    if len(there) < len(finers) or len({one.grid for one in there}) > 1:
        raise Mistake("expected features of one detail, but got several; embed all images with one encoder.")
    if len({len(one.parts()) for one in there}) > 1:
        there = [one.light() for one in there]
    parts = zip(*(one.parts() for one in there), strict=True)
    return there[0].of([torch.cat(list(part)) for part in parts])
