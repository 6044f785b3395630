"""A head for each scale of an image, and its pooling: values of all scales stand behind each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.linearization import stages_of
from fsl_explain.heads.pooling import Pooling
from fsl_explain.heads.projection import Center
from fsl_explain.heads.stages import Stage


class PerScale(nn.Module):
    """Heads side by side, each for an equal part of the values: that of one scale. They may be one and the same."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads: nn.ModuleList = nn.ModuleList(heads)

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Return the outputs of all heads behind each other."""
        parts = parts_of(values, len(self.heads))
        return torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=-1)


def per_scale(head: nn.Module, scales: int) -> nn.Module:
    """Return a head that does at each scale what ``head`` does; one that keeps the scales apart stays as it is.

    That is one that begins with ``PerScale``, or only subtracts a mean of all scales, or does nothing.
    """
    layers = list(head) if type(head) is nn.Sequential else [head]
    if all(isinstance(layer, nn.Identity | Center) for layer in layers) or isinstance(layers[0], PerScale):
        return head
    return PerScale([head] * scales)


@dataclass(frozen=True)
class PooledAtEachScale:
    """The pooling of an encoder at scales that pools the maps of each scale on its own grid.

    The maps of all scales on one grid are not what was pooled, so that they are not pooled again.
    """

    pooling: Pooling

    def __call__(self, maps: Tensor) -> NoReturn:  # noqa: ARG002 - of every pooling
        """Refuse. Raises: ``ValueError``."""
        raise self._refusal()

    def shares(self, maps: Tensor) -> NoReturn:  # noqa: ARG002 - of every pooling
        """Refuse. Raises: ``ValueError``."""
        raise self._refusal()

    def spread(self, maps: Tensor, weights: Tensor) -> NoReturn:  # noqa: ARG002 - of every pooling
        """Refuse. Raises: ``ValueError``."""
        raise self._refusal()

    def _refusal(self) -> Mistake:
        return Mistake(
            "this method pools the maps again, but at several scales those of each are pooled on a grid of their own; "
            "use method='exact' or 'contrast', explain one scale at a time, or average the maps with pooling='gap'."
        )


def parts_of(values: Float[Tensor, "*batch channel"], scales: int) -> tuple[Float[Tensor, "*batch part"], ...]:
    """Cut values into equal parts. Raises: ``ValueError`` where their number is no multiple of the scales'."""
    if values.shape[-1] % scales:
        raise Mistake(
            f"expected pooled values of {scales} scales behind each other, but got {values.shape[-1]}, no multiple of "
            "it; use features of an encoder at these scales."
        )
    return values.chunk(scales, dim=-1)


@dataclass(frozen=True)
class SideBySideStages:
    """The stages of each scale's head as one stage."""

    chains: tuple[tuple[Stage, ...], ...]
    widths: tuple[int, ...]  # of what leaves each

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        """Apply each frozen head to its part."""
        return self._along(values, lambda found, stage: stage.forward(found))

    def push(self, values: Float[Tensor, "*batch cells channel"]) -> Float[Tensor, "*batch cells out"]:
        """Apply the linear part of each to several vectors of each image."""
        return self._along(values, lambda found, stage: stage.push(found))

    def transpose(self, gradient: Float[Tensor, "*queries out"]) -> Float[Tensor, "*queries channel"]:
        """Apply the transpose of the linear part of each."""
        parts = zip(self.chains, gradient.split(self.widths, dim=-1), strict=True)
        return torch.cat(
            [reduce(lambda found, stage: stage.transpose(found), reversed(chain), part) for chain, part in parts],
            dim=-1,
        )

    def _along(self, values: Tensor, step: Callable[[Tensor, Stage], Tensor]) -> Tensor:
        parts = zip(self.chains, parts_of(values, len(self.chains)), strict=True)
        return torch.cat([reduce(step, chain, part) for chain, part in parts], dim=-1)


@stages_of.register
def _(layer: PerScale, values: Tensor) -> list[Stage]:
    chains, widths = [], []
    for head, part in zip(layer.heads, parts_of(values, len(layer.heads)), strict=True):
        chain = tuple(stages_of(head, part))
        chains.append(chain)
        widths.append(reduce(lambda found, stage: stage.forward(found), chain, part).shape[-1])
    return [SideBySideStages(tuple(chains), tuple(widths))]
