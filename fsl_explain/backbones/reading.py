"""Activation maps read from a network: its own output or that of a layer, in the order of maps."""

from copy import copy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import activation_of, evaluating, outcome_from, the_activation
from fsl_explain.backbones.compiled import COMPILED, CompiledPass, Forward
from fsl_explain.backbones.layouts import (
    checked_layout,
    expect_several_cells,
    expect_values,
    found_layout,
    in_order,
    out_of_order,
)
from fsl_explain.backbones.tail import IGNORE, NETWORK, Tail
from fsl_explain.backbones.wrappers import on_one_device


class Reading:
    """What is read of a network: ``layer``, or what it returns where that is None, of a layout.

    A layout of None is recognized with the first images, and then kept.
    """

    def __init__(
        self, network: nn.Module, layer: nn.Module | None, layout: str | None, tail: Tail, inference: str = "eager"
    ) -> None:
        """Raise ``LookupError`` for an unknown layout."""
        self.network: nn.Module = network
        self.layer: nn.Module | None = layer
        self.tail: Tail = tail
        self.layout = checked_layout(layout)
        self.compiled: CompiledPass | None = None
        if inference == COMPILED:
            self.compiled = CompiledPass(network, layer, partial(_hooked, tail.is_network), tail.description)

    def answered(self, description: str) -> "Reading":
        """Return the same of an encoder whose embedding is meant to be what it is; what is compiled stays."""
        changed = copy(self)
        changed.tail = Tail(description, NETWORK if self.tail.is_network else IGNORE, silent=True)
        return changed

    def maps(self, images: Float[Tensor, "batch color height width"]) -> Float[Tensor, "batch channel h w"]:
        """Run the network, as it is compiled where it is, on placed images and return the maps.

        What is learned once, of the layout and of what the network goes on to, is learned of the network itself.
        Raises: as ``in_order``; ``ValueError`` for a network that cannot be compiled.
        """
        if self.compiled is None:
            return self.maps_of_the_network(images)
        if self.layout is None or not self.tail.told:
            self.maps_of_the_network(images)
        values, outcome = self.compiled(images, self._values)
        if self.tail.is_network:
            self.tail.outcome = outcome
        return self.in_order(values, images)

    def maps_of_the_network(
        self, images: Float[Tensor, "batch color height width"]
    ) -> Float[Tensor, "batch channel h w"]:
        """Run the network itself on placed images and return the maps. Raises: as ``in_order``."""
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


def _hooked(needs_outcome: bool, network: nn.Module, layer: nn.Module | None) -> Forward:
    """Return what ``Reading`` reads in one pass, as a function to be compiled; the layer is hooked for good.

    Without the outcome, what the network does behind the layer is left out.
    """
    kept: list[Any] = []

    def forward(images: Tensor) -> tuple[Any, Any]:
        kept.clear()
        outcome = on_one_device(network)(images)
        found = outcome if layer is None else the_activation(list(kept), layer)
        kept.clear()
        return _plain(found), outcome if needs_outcome else None

    if layer is not None:
        layer.register_forward_hook(lambda _layer, _read, output: kept.append(_copied(output)))
    return forward


def _copied(output: Any) -> Any:
    return output.clone() if isinstance(output, Tensor) else output  # a layer behind may overwrite its input


def _plain(values: Any) -> Any:
    return values.dequantize() if isinstance(values, Tensor) and values.is_quantized else values
