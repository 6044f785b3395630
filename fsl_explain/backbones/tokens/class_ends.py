"""Networks of timm whose class token is read out of their last blocks alone: PiT, VOLO and XCiT.

Before those, patches mix without it, or in stages of other grids. So the stream is that of the last blocks, and what
the class token brought into them is a part with a name.
"""

from typing import Any

from torch import Tensor, nn

from fsl_explain.backbones.tokens.blocks import plain_norm
from fsl_explain.backbones.tokens.token_network import CLASS, DISTILLATION, TokenNetwork
from fsl_explain.heads.block_layers import MeanOfParts


def of_class_ends(network: Any) -> TokenNetwork | None:
    """Recognize a network by the blocks in which its class token is read out."""
    token, norm = getattr(network, "cls_token", None), getattr(network, "norm", None)
    blocks, alone = _blocks_of(network)
    own = {"token": "class", "avg": "mean"}.get(str(getattr(network, "global_pool", "")))
    if blocks is None or not isinstance(token, Tensor) or not isinstance(norm, nn.Module) or own is None:
        return None
    roles = (CLASS, DISTILLATION)[: token.shape[1]]
    heads = [getattr(network, name, None) for name in ("head", "head_dist")]
    return TokenNetwork(
        blocks=blocks,
        roles=roles,
        norm=plain_norm(norm),
        own=own,
        after=(MeanOfParts(len(roles)),) if len(roles) > 1 else (),
        queries=tuple(range(len(roles))),
        alone=alone,
        classifiers=tuple(head for head in heads if isinstance(head, nn.Linear)),
    )


def _blocks_of(network: Any) -> tuple[tuple[nn.Module, ...] | None, bool]:
    """Return the last blocks, and whether the class token alone asks in them."""
    for name in ("post_network", "cls_attn_blocks"):
        found = getattr(network, name, None)
        if isinstance(found, nn.ModuleList) and len(found):
            return tuple(found), True
    stages: Any = getattr(network, "transformers", None)
    last: Any = getattr(stages[-1], "blocks", None) if isinstance(stages, nn.Sequential) and len(stages) else None
    return (tuple(last), False) if isinstance(last, nn.Sequential) else (None, False)
