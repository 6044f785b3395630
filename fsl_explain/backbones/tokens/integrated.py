"""The patches where a transformer last reads them, as maps behind which the network itself goes on."""

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.compiled import COMPILED
from fsl_explain.backbones.layouts import FIRST
from fsl_explain.backbones.tail import NETWORK
from fsl_explain.backbones.tokens.blocks import NORMS, first_of
from fsl_explain.backbones.tokens.networks import embedding_of, recognized
from fsl_explain.backbones.tokens.reading import OF_THE_CLASS_TOKEN, grid_of
from fsl_explain.backbones.tokens.token_network import TokenNetwork

INTEGRATED = "integrated"


class PatchesApart(nn.Module):
    """A token network that hands its patches through ``patches``, as (batch, channel, h, w), where it last reads them.

    That is behind a norm, so that halving them halves what is read: of a class token the norm of the last block, else
    the last norm. It returns the embedding that the network itself makes. The network is not altered: the hooks live
    as long as a forward pass does.

    Raises: ``ValueError`` for a network whose blocks are not known.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts = recognized(network)
        if parts is None or not parts.batch_first:
            raise Mistake(
                f"expected a vision transformer whose blocks are known for readout={INTEGRATED!r}, but got a "
                f"{type(network).__name__}; name the layer to explain and tail='network'."
            )
        self.network: nn.Module = network
        self.patches: nn.Identity = nn.Identity()
        self.parts: TokenNetwork = parts

    def forward(self, images: Float[Tensor, "batch color height width"]) -> Float[Tensor, "batch embedding"]:
        """Return the embedding of images."""
        roles, heard = len(self.parts.roles), []

        def apart(_layer: nn.Module, _read: Any, tokens: Tensor) -> Tensor:
            cells = tokens[:, roles:]
            grid = grid_of(self.network, images, cells.shape[1], type(self.network).__name__)
            through = self.patches(cells.mT.unflatten(-1, grid)).flatten(2).mT
            return torch.cat([tokens[:, :roles], through], dim=1)

        with ExitStack() as hooks:
            hooks.callback(self._last_read().register_forward_hook(apart).remove)
            for layer in self.parts.classifiers:
                hooks.callback(layer.register_forward_pre_hook(lambda _, read: heard.append(read[0])).remove)
            output = self.network(images)
        embedding = embedding_of(self.parts, output, heard)
        if embedding is None:
            raise Mistake(f"expected an embedding from {type(self.network).__name__}, but it gives none that is known.")
        return embedding

    def _last_read(self) -> nn.Module:
        """Return the layer whose output holds the patches as they are read last."""
        block = self.parts.blocks[-1]
        norm = first_of(block, NORMS) if self.parts.own in OF_THE_CLASS_TOKEN else self.parts.norm
        found: nn.Module = norm if any(one is norm for one in self.network.modules()) else block
        return found


def patches_apart(
    network: nn.Module, layer: nn.Module | None, description: str, inference: str = "eager"
) -> tuple[nn.Module, nn.Module, str, str, None]:
    """Return a network with the layer, the layout and the tail by which its patches are integrated.

    Raises: ``ValueError`` for a network whose blocks are not known, beside a layer, or to be compiled, which the hooks
    of each pass prevent.
    """
    if inference == COMPILED:
        raise Mistake(
            f"expected inference='eager', 'folded', 'bf16' or 'fp16' beside readout={INTEGRATED!r}, for which layers "
            f"are heard anew in each forward pass, but got {inference!r}; use 'folded'."
        )
    if layer is not None:
        raise Mistake(
            f"expected no layer beside readout={INTEGRATED!r}, but one of {description} was named; drop one of them, "
            "or say tail='network' of the layer."
        )
    apart = PatchesApart(network)
    return apart, apart.patches, FIRST, NETWORK, None
