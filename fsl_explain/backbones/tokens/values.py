"""The values of patches: what attention would write if every patch attended to itself alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.tokens.blocks import block_of
from fsl_explain.backbones.tokens.reading import POOLED, TokenReading
from fsl_explain.devices import at_hand, in_full_precision
from fsl_explain.heads.linearization import linearized
from fsl_explain.readouts.cells import normalize


def patch_values(
    reading: TokenReading, images: Float[Tensor, "batch color height width"]
) -> tuple[Float[Tensor, "batch patch channel"], tuple[int, int]]:
    """Return W_O (W_V x̂ + b_V) + b_O of each patch in the last block, no stream and no MLP beside it, and the grid.

    Where attention pools, they are the values of the pooling, and what follows it is applied.

    Raises: ``ValueError`` for a block whose parts are not known.
    """
    parts, ran = reading.parts, reading.run(images)
    with torch.autocast(images.device.type, enabled=False):
        pools = reading.readout == POOLED and parts.pool is not None
        block = parts.pool_block(parts.pool) if pools and parts.pool is not None else None
        block = block_of(parts.blocks[-1], ran.given[-1]) if block is None else block
        if block is None:
            raise Mistake(
                f"expected a last block with known parts, but {reading.description} has one of type "
                f"{type(parts.blocks[-1]).__name__}; use legrad or chefer, which know no parts."
            )
        tokens = in_full_precision(at_hand(ran.left if pools else ran.entered[-1]))
        tokens = normalize(parts.norm, tokens) if pools else tokens
        patches = tokens[:, len(parts.roles) :]
        heads = block.value(normalize(block.norm, patches))
        return linearized(block.out, heads)[1], reading.grid(images, tokens)
