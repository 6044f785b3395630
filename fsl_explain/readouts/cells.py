"""Poolings over tokens: of cells that are normalized first, and of none where a token was read out instead."""

from dataclasses import dataclass
from typing import NoReturn

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.flatten import Flattening
from fsl_explain.heads.named import pooling_name
from fsl_explain.heads.pooling import Pooling

OF_ONE_EMBEDDING = {"class-direct": "class", "class-last": "class"}
"""Readouts that split the embedding of another one in another way."""


def normalize(norm: nn.Module, tokens: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    """Normalize tokens over their channels in their own precision, whatever that of the norm's parameters is."""
    if isinstance(norm, nn.LayerNorm):
        weight, bias = (None if one is None else one.detach().to(tokens) for one in (norm.weight, norm.bias))
        return nn.functional.layer_norm(tokens, tuple(norm.normalized_shape), weight, bias, norm.eps)
    if isinstance(norm, nn.RMSNorm):
        weight = None if norm.weight is None else norm.weight.detach().to(tokens)
        return nn.functional.rms_norm(tokens, tuple(norm.normalized_shape), weight, norm.eps)
    normalized: Tensor = norm(tokens)
    return normalized


@dataclass(frozen=True, repr=False)
class NormalizedCells:
    """Normalize each cell over its channels, then pool: the mean of patches with the norm before it.

    A cell's share is that of its normalized values, the norm's bias among them.
    """

    norm: nn.Module
    pooling: Pooling

    def __repr__(self) -> str:
        return f"{pooling_name(self.pooling)} behind the norm"

    def __call__(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Pool the normalized maps."""
        return self.pooling(self._normalized(maps))

    def shares(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled h w"]:
        """Split each pooled value into one addend per cell."""
        return self.pooling.shares(self._normalized(maps))

    def spread(
        self, maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*queries pooled"]
    ) -> Float[Tensor, "... h w"]:
        """Sum the shares over channels with one weight a channel."""
        return self.pooling.spread(self._normalized(maps), weights)

    def by_channel(
        self, values: Float[Tensor, "*batch pooled"], maps: Float[Tensor, "*batch channel h w"]
    ) -> Float[Tensor, "*batch channel"]:
        """Sum what the pooled values hold to channels, where the pooling makes several of one channel's map."""
        return self.pooling.by_channel(values, maps) if isinstance(self.pooling, Flattening) else values

    def _normalized(self, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel h w"]:
        return normalize(self.norm, maps.movedim(-3, -1)).movedim(-1, -3)


def flattens(pooling: Pooling) -> bool:
    """Say whether every cell of every map is a value of its own, normalized or not."""
    return isinstance(pooling.pooling if isinstance(pooling, NormalizedCells) else pooling, Flattening)


@dataclass(frozen=True, repr=False)
class NoPooling:
    """In place of a pooling where a token is read out: no pooling of the last maps makes the embedding."""

    readout: str

    def __repr__(self) -> str:
        return f"none, read out as {OF_ONE_EMBEDDING.get(self.readout, self.readout)}"

    def __call__(self, maps: Tensor) -> NoReturn:  # noqa: ARG002 - the signature of every pooling
        """Refuse. Raises: ``ValueError``."""
        self._refuse()

    def shares(self, maps: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises: ``ValueError``."""
        self._refuse()

    def spread(self, maps: Tensor, weights: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises: ``ValueError``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Mistake(
            f"expected an embedding that is pooled from the maps, but this encoder reads it out as {self.readout!r}; "
            "use exact, contrast or a method for tokens, or an encoder with readout='mean'."
        )
