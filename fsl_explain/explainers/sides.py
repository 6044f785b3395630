"""The two sides of an explanation: what the query holds of the score, and what the supports do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

SHOWN = (
    *("contributions", "cells", "bias", "saliency", "image", "support_cells", "support_bias", "similarities"),
    *("support_weights", "support_shares", "support_biases", "support_images"),
)
"""The fields of an explanation that are arrays."""


@dataclass(frozen=True)
class QuerySide:
    """Each channel's and each cell's share of the score on the query."""

    contributions: Float[Tensor, "*batch channel"]  # signed; sum to score - bias for exact and contrast
    cells: Float[Tensor, "*batch h w"]  # before upsampling; where the image was masked, its pixels
    bias: Float[Tensor, "*batch"]  # what no channel and no cell holds, from its own formula
    saliency: Float[Tensor, "*batch height width"]
    image: Float[Tensor, "*batch 3 height width"]  # in [0, 1], for pictures
    named: Mapping[str, Float[Tensor, "*batch"]] = field(default_factory=dict)  # parts of the bias that have a name
    steps: Int[Tensor, "*batch"] | None = None  # of the integration by which the addends were found, if one was needed

    def __getitem__(self, index: int) -> "QuerySide":
        """Return that of one query of a batch."""
        parts = {name: value[index] for name, value in self.tensors.items()}
        return QuerySide(**parts, named={name: value[index] for name, value in self.named.items()})

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All of it by name, but for the named parts of the bias."""
        return {name: value for name, value in vars(self).items() if name != "named" and value is not None}

    @property
    def share_of_cells(self) -> float | None:
        """Σ|cells| of Σ|cells| + Σ|named| + |the rest of the bias|, of one query; None where no score is split."""
        rest = self.bias - sum(self.named.values(), torch.zeros_like(self.bias))
        cells = float(self.cells.double().abs().sum())
        beside = float(rest.abs()) + sum(float(value.abs()) for value in self.named.values())
        total = cells + beside
        return cells / total if total > 0 and not bool(self.contributions.isnan().any()) else None


@dataclass(frozen=True)
class SupportSide:
    """The same decision seen from the supports; NaN where there is no such support."""

    cells: Float[Tensor, "*batch way shot _h _w"]  # NaN also where a support has no map
    bias: Float[Tensor, "*batch"]
    similarities: Float[Tensor, "*batch way shot"]  # S_k to each support, in float64
    weights: Float[Tensor, "*batch way shot"]  # w_k: score = Σ_k w_k S_k + Σ constants
    shares: Float[Tensor, "*batch way shot"]  # the part of w_k S_k that the query's cells hold
    biases: Float[Tensor, "*batch way shot"]  # the part of w_k S_k that none of them holds
    images: Float[Tensor, "way shot 3 _height _width"] | None = None  # in [0, 1], where images were given

    def __getitem__(self, index: int) -> "SupportSide":
        """Return that of one query of a batch; the photographs are of all."""
        return SupportSide(
            self.cells[index],
            self.bias[index],
            self.similarities[index],
            self.weights[index],
            self.shares[index],
            self.biases[index],
            self.images,
        )

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All that is there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def as_array(value: Tensor) -> Shaped[np.ndarray, "..."]:
    """Return a tensor as a NumPy array on the CPU, without its gradient."""
    wide = value.float() if value.dtype == torch.bfloat16 else value  # NumPy has no such type
    array: np.ndarray = wide.detach().cpu().numpy()
    return array
