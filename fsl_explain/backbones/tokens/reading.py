"""Token networks read once: the patches as maps, the embedding's pooled tokens, and who wrote them.

The first image that is read checks what was recognized: the embedding against the network's own, and the parts of the
pooled tokens against the tokens themselves. Where they differ, the network is refused.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.compiled import COMPILED, CompiledPass
from fsl_explain.backbones.tokens.blocks import block_of
from fsl_explain.backbones.tokens.networks import embedding_of, head_of
from fsl_explain.backbones.tokens.running import Ran, checked, hooked, run
from fsl_explain.backbones.tokens.token_network import TokenNetwork
from fsl_explain.devices import HALF, at_hand, in_full_precision, module_at_hand, module_in_full_precision
from fsl_explain.features import Features
from fsl_explain.heads import POOLINGS, Pooling
from fsl_explain.readouts.block import Block
from fsl_explain.readouts.cells import NoPooling, NormalizedCells, flattens, normalize
from fsl_explain.readouts.read_again import ClassAndMean
from fsl_explain.readouts.stream import DIRECT, LAST, STREAM, Plan, StreamTrace
from fsl_explain.traces import Addends, Trace

MEAN, BOTH, POOLED = "mean", "class+mean", "attention-pool"
OF_THE_CLASS_TOKEN = (STREAM, DIRECT, LAST)
READOUTS = (*OF_THE_CLASS_TOKEN, MEAN, BOTH, POOLED)
CLOSE = 1e-4  # of the norm
CLOSE_IN_HALF = 0.05


@dataclass(frozen=True)
class Read:
    """What a token network made of images."""

    maps: Float[Tensor, "batch channel h w"]  # the patches as they leave the last block
    pooled: Float[Tensor, "batch pooled"] | None  # the tokens that are read out; None: the pooling of the maps
    trace: Trace | None
    own: Float[Tensor, "batch embedding"] | None  # the embedding that the network itself made


class TokenReading:
    """What is read of a token network, by one readout; the network's own unless another is named."""

    def __init__(
        self,
        network: nn.Module,
        parts: TokenNetwork,
        readout: str | None,
        description: str,
        inference: str = "eager",
    ) -> None:
        """Raise ``LookupError`` for an unknown readout, ``ValueError`` for one that the network has not."""
        if readout is not None and readout not in READOUTS:
            raise unknown_name("readout", readout, READOUTS)
        self.network: nn.Module = network
        self.parts: TokenNetwork = parts
        self.description: str = description
        self.readout: str = parts.own if readout is None else readout
        self._check_there()
        self._unchecked = True
        self.compiled: CompiledPass | None = None
        if inference == COMPILED:
            self.compiled = CompiledPass(network, parts, partial(hooked, self._followed), description)

    @property
    def head(self) -> nn.Module:
        """From the pooled tokens to the embedding."""
        return head_of(self.parts, self.readout)

    def pooling(self, inner: Pooling) -> Pooling:
        """Return how the maps become pooled values, ``inner`` that of the normalized patches."""
        if self.readout != MEAN:
            return NoPooling(self.readout)
        return inner if isinstance(self.parts.norm, nn.Identity) else NormalizedCells(self.parts.norm, inner)

    def read(self, images: Float[Tensor, "batch color height width"]) -> Read:
        """Run the network, as it is compiled where it is, on placed images."""
        ran = self.run(images) if self.compiled is None else self._run_compiled(self.compiled, images)
        with torch.autocast(images.device.type, enabled=False):
            return self.read_out(ran, images)

    def read_out(self, ran: Ran, images: Tensor) -> Read:
        """Read a forward pass out."""
        tokens = [in_full_precision(at_hand(x)) for x in (*ran.entered, ran.left)]
        grid = self.grid(images, tokens[-1])
        cells = tokens[-1][:, len(self.parts.roles) :]
        maps, own = cells.mT.unflatten(-1, grid), embedding_of(self.parts, ran.output, ran.classified)
        own = None if own is None else in_full_precision(at_hand(own))
        if self.readout == MEAN:
            return Read(maps, None, None, own)
        if self.readout == POOLED:
            return Read(maps, in_full_precision(at_hand(ran.pooled[0])), self._attention_pooled(cells, grid), own)
        stream, queried = self._stream(tokens, ran, grid), tokens[-1][:, list(self.parts.queries)].flatten(1)
        if self.readout != BOTH:
            return Read(maps, queried, stream, own)
        normalized = normalize(self.parts.norm, cells)
        mean = Addends(normalized.mT.unflatten(-1, grid) / (grid[0] * grid[1]), {})
        both = ClassAndMean((stream, mean), self.parts.norm)
        return Read(maps, torch.cat([queried, normalized.mean(dim=1)], dim=-1), both, own)

    def features(self, read: Read, pooling: Pooling, head: nn.Module) -> Features:
        """Make features of what was read, ``head`` that of the encoder, and check the first of them.

        Raises: ``ValueError`` as ``check`` does.
        """
        with torch.autocast(read.maps.device.type, enabled=False):
            pooled = pooling(read.maps) if read.pooled is None else read.pooled
            found = Features(read.maps, pooled, module_at_hand(head)(pooled.clone()), read.trace)
            averaged = self.pooling(POOLINGS["gap"])(read.maps) if flattens(pooling) else pooled
            self.check(replace(found, pooled=averaged), module_at_hand(module_in_full_precision(self.head)), read.own)
        return found

    def check(self, features: Features, head: nn.Module, own: Tensor | None) -> None:
        """Compare, once, what was read of the first image with what the network made; ``head`` is that of the readout.

        Raises: ``ValueError`` where they differ.
        """
        if not self._unchecked or len(features.pooled) == 0:
            return
        first = features[:1]
        close = CLOSE_IN_HALF if is_half(self.network) else CLOSE
        makes_own = self.readout == self.parts.own or (self.parts.own == STREAM and self.readout in OF_THE_CLASS_TOKEN)
        embedding = head(first.pooled.clone())
        if makes_own and (own is None or not _near(embedding, own[:1], close)):
            theirs = "nothing that is known" if own is None else f"an embedding of shape {tuple(own.shape)}"
            raise Mistake(
                f"expected {self.description} to output what its readout {self.readout!r} makes, of shape "
                f"{tuple(features.embedding.shape)}, but it gives {theirs}{_gap(embedding, own)}; name the readout "
                f"that it is trained with, {', '.join(READOUTS)}, or the layer to explain and tail='network'."
            )
        if first.trace is not None:
            total = sum(first.trace.named.values(), first.trace.held)
            if not _near(total, first.pooled, close):
                raise Mistake(
                    f"expected the blocks of {self.description} to be pre-norm transformer blocks, but a "
                    f"{type(self.parts.blocks[-1]).__name__} computes otherwise than its parts say"
                    f"{_gap(total, first.pooled)}; use readout='mean', or the layer to explain and tail='network'."
                )
        self._unchecked = False

    def in_order(self, values: Any, images: Tensor) -> Tensor:
        """Refuse to read other outputs as maps. Raises: ``ValueError``."""
        raise Mistake(
            f"expected a layer whose output are maps for {tuple(images.shape[-2:])} pixels, but {self.description} is "
            f"read out as {self.readout!r} from {type(values).__name__}; wrap it with the name of a layer."
        )

    def expect_readout(self, there: tuple[str, ...]) -> None:
        """Refuse a readout that is none of those there are. Raises: ``ValueError``."""
        if self.readout not in there:
            raise Mistake(
                f"expected a readout of {self.description}, {', '.join(there)}, but got {self.readout!r}; use that."
            )

    def _check_there(self) -> None:
        parts, readout = self.parts, self.readout
        if readout in (*OF_THE_CLASS_TOKEN, BOTH) and not parts.roles:
            raise Mistake(
                f"expected a network with a class token for readout={readout!r}, but {self.description} has none; "
                f"use readout={parts.own!r}."
            )
        if readout == POOLED and (parts.pool is None or parts.pool_block(parts.pool) is None):
            raise Mistake(
                f"expected attention pooling that is known for readout={readout!r}, but {self.description} has none; "
                "use readout='mean', or the layer to explain and tail='network'."
            )
        if readout == BOTH and (len(parts.queries) > 1 or parts.apart):
            raise Mistake(
                f"expected one class token for readout={readout!r}, but {self.description} has other ones; "
                f"use readout={parts.own!r}."
            )

    def run(self, images: Tensor) -> Ran:
        """Run the network on placed images, and hear what its blocks are given. Raises: ``ValueError``."""
        return run(self.network, self.parts, images, self._followed, self.description)

    def _run_compiled(self, compiled: CompiledPass, images: Tensor) -> Ran:
        found: Ran | tuple[Any, ...] = compiled(images, self.run)
        return found if isinstance(found, Ran) else checked(Ran(*found), self.parts, self.description)

    @property
    def _followed(self) -> range:
        """The places of the blocks whose class token is followed."""
        count = len(self.parts.blocks)
        if self.readout in (MEAN, POOLED):
            return range(0)
        return range(count - 1 if self.readout == LAST else 0, count)

    def _stream(self, tokens: list[Tensor], ran: Ran, grid: tuple[int, int]) -> StreamTrace:
        way, blocks, heard = STREAM if self.readout == BOTH else self.readout, [], []
        for place in self._followed:
            module = self.parts.blocks[place]
            block = block_of(module, ran.given[place])
            if block is None:
                raise Mistake(
                    f"expected pre-norm transformer blocks with known parts, but {self.description} has blocks of "
                    f"type {type(module).__name__}; use readout='mean', or the layer to explain and tail='network'."
                )
            blocks.append(block)
            heard.append(ran.heard_in(place))
        plan = Plan(way, self.parts.roles, self.parts.queries, grid, tuple(blocks))
        return StreamTrace(plan, tuple(tokens[self._followed.start : -1]), tuple(heard))

    def _attention_pooled(self, cells: Tensor, grid: tuple[int, int]) -> StreamTrace:
        pool = self.parts.pool
        block = None if pool is None else self.parts.pool_block(pool)
        assert isinstance(block, Block)  # it was looked for when the readout was chosen
        normalized = normalize(self.parts.norm, cells)
        return StreamTrace(Plan(STREAM, (), (), grid, (block,)), (normalized,))

    def grid(self, images: Tensor, tokens: Tensor) -> tuple[int, int]:
        """Return the grid of the patches among tokens."""
        return grid_of(self.network, images, tokens.shape[1] - len(self.parts.roles), self.description)


def grid_of(network: nn.Module, images: Tensor, count: int, description: str) -> tuple[int, int]:
    """Return the grid of so many patches: that of the first strided convolution, or of the image's own shape.

    Raises: ``ValueError`` where they make none.
    """
    height, width = images.shape[-2:]
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == layer.kernel_size:
            rows, columns = height // layer.stride[0], width // layer.stride[1]
            if rows * columns == count:
                return rows, columns
    rows = round((count * height / width) ** 0.5)
    if rows == 0 or count % rows or abs(rows * width - count // rows * height) > max(height, width):
        raise Mistake(
            f"expected {description} to give a grid of tokens, but {count} of them make none of an image of "
            f"{height}×{width}; name the layer to explain."
        )
    return rows, count // rows


def _near(ours: Tensor, theirs: Tensor, close: float) -> bool:
    if ours.shape != theirs.shape:
        return False
    first, second = ours.double().cpu(), theirs.double().cpu()
    return bool((first - second).norm() <= close * second.norm())


def _gap(ours: Tensor, theirs: Tensor | None) -> str:
    if theirs is None or ours.shape != theirs[:1].shape:
        return ""
    first, second = ours.double().cpu(), theirs[:1].double().cpu()
    return f", {float((first - second).norm() / second.norm()):.1%} apart"


def is_half(network: nn.Module) -> bool:
    """Whether a network computes in half precision."""
    return any(value.dtype in HALF for value in network.parameters())
