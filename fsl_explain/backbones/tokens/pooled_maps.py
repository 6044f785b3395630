"""Convolutional networks whose maps are pooled by attention, as CLIP's ResNets are (Radford et al., 2021).

The mean cell asks, and mean and cells answer, each with its position added: q = mean; a = softmax over [mean; cells].
The mean's value is linear in the cells, so that cell i writes W_O W_V x_i times a_i + a_0 / D, a_0 the attention to the
mean and D the number of cells. What the positions write, and the biases, are named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.backbones.capture import evaluating, turn_at
from fsl_explain.backbones.compiled import COMPILED, CompiledPass, Forward
from fsl_explain.backbones.tokens.blocks import first_of
from fsl_explain.backbones.tokens.reading import POOLED, Read, TokenReading
from fsl_explain.backbones.tokens.token_network import TokenNetwork
from fsl_explain.backbones.wrappers import on_one_device
from fsl_explain.devices import at_hand, in_full_precision, module_at_hand, module_in_full_precision
from fsl_explain.heads.block_layers import Affine
from fsl_explain.readouts.block import in_heads
from fsl_explain.traces import Addends

POSITIONS, BIASES = "positions", "biases"


class PooledMapsReading(TokenReading):
    """What is read of a convolutional network with attention pooling: its last maps, and what each cell wrote."""

    def __init__(
        self, network: nn.Module, pool: nn.Module, readout: str | None, description: str, inference: str = "eager"
    ) -> None:
        parts = TokenNetwork(blocks=(pool,), roles=(), norm=nn.Identity(), own=POOLED, pool=pool)
        super().__init__(network, parts, POOLED if readout is None else readout, description)
        if inference == COMPILED:
            self.compiled: CompiledPass | None = CompiledPass(network, pool, _hooked, description)

    def read(self, images: Float[Tensor, "batch color height width"]) -> Read:
        """Run the network on placed images."""
        pool = self.parts.blocks[0]
        entered, left, output = self._heard(images) if self.compiled is None else self.compiled(images, self._heard)
        maps, pooled = (in_full_precision(at_hand(value.detach())) for value in (entered, left))
        own = in_full_precision(at_hand(output)) if isinstance(output, Tensor) else None
        with torch.autocast(images.device.type, enabled=False):
            written = addends_of(pool, maps)
            return Read(maps, pooled, PooledByModule(written.maps, written.named, maps, pool), own)

    def _check_there(self) -> None:
        self.expect_readout((POOLED,))

    def _heard(self, images: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Return what enters the pooling, what leaves it, and what the network returns."""
        heard: list[Tensor] = []
        with turn_at(self.network):
            handle = self.parts.blocks[0].register_forward_hook(lambda *of: heard.extend((of[1][0], of[2])))
            try:
                output = on_one_device(self.network)(images)
            finally:
                handle.remove()
        return heard[0], heard[1], output


def _hooked(network: nn.Module, pool: nn.Module) -> Forward:
    """Return the same pass as a function to be compiled; the pooling is hooked for good."""
    heard: list[Tensor] = []
    pool.register_forward_hook(lambda *of: heard.extend((of[1][0], of[2])))

    def forward(images: Tensor) -> tuple[Tensor, Tensor, Any]:
        heard.clear()
        output = on_one_device(network)(images)
        entered, left = heard
        heard.clear()
        return entered, left, output

    return forward


@dataclass(frozen=True)
class PooledByModule(Addends):
    """The written-out addends of maps that a module pools, such as attention, with the maps themselves."""

    read: Float[Tensor, "*batch _channel h w"]
    pool: nn.Module

    @property
    def cells_read(self) -> Float[Tensor, "*batch channel h w"]:
        """The maps as the module reads them."""
        return self.read

    def read_again(self, cells: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Return what the module makes of these maps."""
        pool = module_at_hand(module_in_full_precision(self.pool))
        with evaluating(pool), torch.enable_grad():
            pooled: Tensor = pool(cells.reshape(-1, *cells.shape[-3:]))
        return pooled.reshape(*cells.shape[:-3], -1)

    def parts(self) -> Sequence[Tensor]:
        """Return the addends, the maps and the named addends."""
        return (self.maps, self.read, *self.named.values())

    def of(self, parts: Sequence[Tensor]) -> "PooledByModule":
        """Return the same with other tensors."""
        maps, read, *named = parts
        return replace(self, maps=maps, read=read, named=dict(zip(self.named, named, strict=True)))


def attention_pool_of(network: nn.Module) -> nn.Module | None:
    """Return the attention pooling of a network's maps whose output is the network's own, or None."""
    head = getattr(network, "head", None)
    places = (*(getattr(network, name, None) for name in ("attnpool", "global_pool")), head)
    for found in (*places, getattr(head, "global_pool", None)):
        if isinstance(found, nn.Module) and type(found).__name__ == "AttentionPool2d":
            return None if getattr(found, "cls_token", None) is not None else found
    return None


def addends_of(pool: nn.Module, maps: Float[Tensor, "batch channel h w"]) -> Addends:
    """Return what each cell of the maps, the positions and the biases write into the pooled values."""
    query, key, value = _projections(pool)
    out = _out(pool)
    heads: Any = pool.num_heads
    cells = maps.flatten(2).mT
    positions = _positions(pool, maps)
    tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1) + positions
    asked, keys = in_heads(query(tokens[:, :1]), heads), in_heads(key(tokens), heads)
    attention = (asked @ keys.mT * asked.shape[-1] ** -0.5).softmax(dim=-1)[..., 0, :]  # (batch, head, 1 + cells)
    held = attention[..., 1:] + attention[..., :1] / cells.shape[1]
    linear = Affine(value.weight)
    by_cell = (held[..., None] * in_heads(linear(cells), heads)).transpose(1, 2).flatten(2)
    by_place = torch.einsum("bht,htd->bhd", attention, in_heads(linear(positions), heads)).flatten(1)
    zero = by_place.new_zeros(by_place.shape)
    bias = zero if value.bias is None else zero + value.bias.to(zero)
    after = Affine(out.weight)
    biases = after(bias) if out.bias is None else after(bias) + out.bias.to(bias)
    written = after(by_cell).mT.unflatten(-1, maps.shape[-2:])
    return Addends(written, {POSITIONS: after(by_place), BIASES: biases})


def _projections(pool: Any) -> list[Affine]:
    fused = getattr(pool, "qkv", None)
    if isinstance(fused, nn.Linear):
        biases = [None] * 3 if fused.bias is None else fused.bias.chunk(3)
        return [Affine(weight, bias) for weight, bias in zip(fused.weight.chunk(3), biases, strict=True)]
    layers = [first_of(pool, names) for names in (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"))]
    return [Affine(layer.weight, layer.bias) for layer in layers]


def _out(pool: Any) -> Affine:
    layer = first_of(pool, ("c_proj", "proj"))
    if isinstance(layer, nn.Linear):
        return Affine(layer.weight, layer.bias)
    width = _projections(pool)[2].weight.shape[0]
    return Affine(torch.eye(width))


def _positions(pool: Any, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "token channel"]:
    """Return the positions of mean and cells, interpolated for maps of another size as the network does."""
    found: Tensor = first_of(pool, ("positional_embedding", "pos_embed")).detach().to(maps)
    height, width = maps.shape[-2:]
    if len(found) == 1 + height * width:
        return found
    side = tuple(getattr(pool, "feat_size", ())) or (round((len(found) - 1) ** 0.5),) * 2
    resized: Callable[..., Tensor] = nn.functional.interpolate
    grid = found[1:].mT.reshape(1, -1, *side)
    larger = resized(grid, size=(height, width), mode="bicubic", antialias=True)
    return torch.cat([found[:1], larger.flatten(2)[0].mT])
