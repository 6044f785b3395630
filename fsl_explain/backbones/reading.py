"""Activation maps read from a network: its own output or that of a layer, in the order of maps."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import activation_of, evaluating, outcome_from
from fsl_explain.backbones.layouts import (
    checked_layout,
    expect_several_cells,
    expect_values,
    found_layout,
    in_order,
    out_of_order,
)
from fsl_explain.backbones.tail import Tail
from fsl_explain.backbones.wrappers import on_one_device


class Reading:
    """What is read of a network: ``layer``, or what it returns where that is None, of a layout.

    A layout of None is recognized with the first images, and then kept.
    """

    def __init__(self, network: nn.Module, layer: nn.Module | None, layout: str | None, tail: Tail) -> None:
        """Raise ``LookupError`` for an unknown layout."""
        self.network: nn.Module = network
        self.layer: nn.Module | None = layer
        self.tail: Tail = tail
        self.layout = checked_layout(layout)

    def maps(self, images: Float[Tensor, "batch color height width"]) -> Float[Tensor, "batch channel h w"]:
        """Run the network on placed images and return the maps. Raises: as ``in_order``."""
        with self.tail.watched(self.network):
            values, self.tail.outcome = self._values(images)
        return self.in_order(values, images)

    def outcome_from(
        self, maps: Float[Tensor, "batch channel h w"], images: Float[Tensor, "batch color height width"]
    ) -> Float[Tensor, "batch embedding"]:
        """Return what the network goes on to from other maps than the images', and how that changes with them.

        Raises: ``ValueError`` before any maps have been read, so that their layout is not known.
        """
        if self.layer is None or self.layout is None:
            raise Mistake("expected a layer whose maps have been read; call the encoder with images first.")
        with torch.enable_grad():
            values = out_of_order(maps, self.layout)
        outcome = outcome_from(self.network, self.layer, values, images)
        return self.tail.checked(outcome, len(maps))

    def in_order(
        self, values: Any, images: Float[Tensor, "batch color height width"]
    ) -> Float[Tensor, "batch channel h w"]:
        """Return what was read for placed images, or its gradient, as maps, each number as it is.

        Raises: ``ValueError`` for what is no activation maps, or of a layout that cannot be told.
        """
        layer = self.network if self.layer is None else self.layer
        source = f"the {'network' if self.layer is None else 'layer'} {type(layer).__name__}"
        checked = expect_values(values, source, len(images), self.layout)
        if self.layout is None:
            found = found_layout(checked, images, layer, self._probed)
            if self.layer is not None and not self.tail.is_answered:
                expect_several_cells(in_order(checked, found, source), images, source)
            self.layout = found
        return in_order(checked, self.layout, source)

    def _probed(self, images: Tensor) -> Any:
        with evaluating(self.network):
            return self._values(images)[0]

    def _values(self, images: Tensor) -> tuple[Any, Any]:
        """Return what is read, in the layout it has, and what the network does, None where that is the same."""
        if self.layer is None:
            return _plain(on_one_device(self.network)(images)), None
        values, outcome = activation_of(self.network, self.layer, images)
        return _plain(values), outcome


def _plain(values: Any) -> Any:
    return values.dequantize() if isinstance(values, Tensor) and values.is_quantized else values
