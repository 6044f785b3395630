"""Token networks recognized by their parts: timm, torchvision, transformers, open_clip and the official DINO and CLIP.

What is found here is a claim. The first image that is read checks it against the network's own output.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fsl_explain.backbones.tokens.blocks import attention_of, first_of, is_nothing, mlp_layers, plain_norm
from fsl_explain.backbones.tokens.class_ends import of_class_ends
from fsl_explain.backbones.tokens.token_network import CLASS, DISTILLATION, REGISTERS, TokenNetwork, the_tensor
from fsl_explain.heads.block_layers import Affine, MeanOfParts, Parallel, Residual
from fsl_explain.readouts.block import Block

INTERPOLATES = "interpolate_pos_encoding"


def _first(output: Any) -> Tensor | None:
    return the_tensor(output[0] if isinstance(output, tuple) else output)


def recognized(network: nn.Module) -> TokenNetwork | None:
    """Return the parts of a token network, or None for one that is none, or is not known."""
    for recognize in (_of_transformers, _of_open_clip, _of_torchvision, of_class_ends, _of_timm):
        found = recognize(network)
        if found is not None:
            return found
    return None


def _of_timm(network: Any) -> TokenNetwork | None:
    """Recognize timm's VisionTransformer, Eva, Cait and DeiT, and the official DINO and DINOv2."""
    blocks, norm = getattr(network, "blocks", None), getattr(network, "norm", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not isinstance(norm, nn.Module):
        return None
    if not hasattr(network, "cls_token") or not hasattr(network, "patch_embed"):
        return None
    class_blocks = tuple(getattr(network, "blocks_token_only", None) or ())
    roles = _timm_roles(network)
    queries = tuple(at for at, role in enumerate(roles) if role in (CLASS, DISTILLATION))
    pooled_by = getattr(network, "global_pool", "token") or "token"
    own = {"token": "class", "avg": "mean", "map": "attention-pool"}.get(str(pooled_by))
    after, norm_after = [], getattr(network, "fc_norm", None)
    if len(queries) > 1:
        after.append(MeanOfParts(len(queries)))
    if own is None or getattr(network, "pool_include_prefix", False):
        return None
    heads = [getattr(network, name, None) for name in ("head", "head_dist")]
    return TokenNetwork(
        blocks=class_blocks or tuple(blocks),
        roles=roles,
        norm=plain_norm(norm),
        own=own,
        after=tuple(after),
        norm_after=None if is_nothing(norm_after) else plain_norm(norm_after),
        queries=queries or (0,),
        pool=getattr(network, "attn_pool", None),
        pool_block=_timm_pool,
        apart=bool(class_blocks),
        alone=bool(class_blocks),
        classifiers=tuple(head for head in heads if isinstance(head, nn.Linear)),
    )


def _timm_roles(network: Any) -> tuple[str, ...]:
    registers = getattr(network, "reg_token", None)
    registers = getattr(network, "register_tokens", None) if registers is None else registers
    own = [] if network.cls_token is None else [CLASS]
    own += [DISTILLATION] if getattr(network, "dist_token", None) is not None else []
    return (*own, *([REGISTERS] * (0 if registers is None else registers.shape[-2])))


def _timm_pool(pool: Any) -> Block | None:
    """Return timm's latent attention pooling, whose tokens come normalized."""
    kv, queried = getattr(pool, "kv", None), getattr(pool, "q", None)
    latent = getattr(pool, "latent", None)
    if not isinstance(kv, nn.Linear) or latent is None or latent.shape[1] != 1 or pool.pos_embed is not None:
        return None
    keys, values = kv.weight.chunk(2)
    key_bias, value_bias = (None, None) if kv.bias is None else kv.bias.chunk(2)
    inner = None if pool.mlp is None else mlp_layers(pool.mlp)
    branch = [] if inner is None else [Residual(plain_norm(pool.norm), *inner)]
    return Block(
        norm=nn.Identity(),
        query=Affine(queried.weight, queried.bias) if isinstance(queried, nn.Linear) else None,
        key=Affine(keys, key_bias),
        value=Affine(values, value_bias),
        heads=pool.num_heads,
        out=nn.Sequential(pool.proj, *branch),
        mlp=None,
        query_norm=None if is_nothing(pool.q_norm) else pool.q_norm,
        key_norm=None if is_nothing(pool.k_norm) else pool.k_norm,
        latent=latent[0].detach(),
    )


def _of_torchvision(network: Any) -> TokenNetwork | None:
    encoder: Any = getattr(network, "encoder", None)
    if not hasattr(network, "class_token") or not hasattr(encoder, "layers") or not hasattr(network, "heads"):
        return None
    heads = list(network.heads) if isinstance(network.heads, nn.Sequential) else [network.heads]
    classifier = heads[-1:] if heads and isinstance(heads[-1], nn.Linear) and heads[-1].out_features else []
    before = heads[: len(heads) - len(classifier)]
    return TokenNetwork(
        blocks=tuple(encoder.layers),
        roles=(CLASS,),
        norm=plain_norm(encoder.ln),
        own="class",
        after=tuple(one for one in before if not is_nothing(one)),
        classifiers=tuple(classifier),
    )


def _of_open_clip(network: Any) -> TokenNetwork | None:
    """Recognize the visual tower of OpenAI's CLIP and of open_clip."""
    blocks = getattr(getattr(network, "transformer", None), "resblocks", None)
    if blocks is None or not hasattr(network, "class_embedding") or not hasattr(network, "ln_post"):
        return None
    if getattr(network, "attn_pool", None) is not None or getattr(network, "pool_type", "tok") not in ("tok", "avg"):
        return None
    projection = getattr(network, "proj", None)
    after = () if projection is None else (Affine(projection.T),)
    norm = plain_norm(network.ln_post)
    own = "mean" if getattr(network, "pool_type", "tok") == "avg" else "class"
    late = bool(getattr(network, "final_ln_after_pool", False))
    return TokenNetwork(
        blocks=tuple(blocks),
        roles=(CLASS,),
        norm=nn.Identity() if late else norm,
        norm_after=norm if late else None,
        own=own,
        after=after,
        batch_first=bool(getattr(blocks[0].attn, "batch_first", True)),
        outcome=_first,
    )


def _of_transformers(network: Any) -> TokenNetwork | None:
    """Recognize vision models of transformers: ViT, DeiT, DINOv2, DINOv3, CLIP, SigLIP and those built alike."""
    if not any(kind.__module__.startswith("transformers.") for kind in type(network).__mro__):
        return None
    body = next((one for one in network.modules() if _layers_of(one) is not None and _norm_of(one) is not None), None)
    if body is None or not any(isinstance(one, nn.Conv2d) for one in body.modules()):
        return None
    classifier = first_of(network, ("classifier", "cls_classifier"))
    heads = (classifier, getattr(network, "distillation_classifier", None))
    classifiers = tuple(one for one in heads if isinstance(one, nn.Linear))
    latent = getattr(body, "head", None)
    pool = latent if hasattr(latent, "probe") else None
    roles = _transformers_roles(body)
    both = bool(classifiers) and type(network).__name__.startswith("Dinov2")
    projection = getattr(network, "visual_projection", None)
    pooler = None if classifiers else getattr(body, "pooler", None)
    after = [] if pooler is None else [pooler.dense, pooler.activation]
    return TokenNetwork(
        blocks=tuple(_layers_of(body) or ()),
        roles=roles,
        norm=plain_norm(_norm_of(body)),
        own="attention-pool" if pool is not None else "class+mean" if both else "class" if roles else "mean",
        after=(*after, *([] if projection is None else [projection])),
        pool=pool,
        pool_block=_transformers_pool,
        outcome=_transformers_output,
        classifiers=classifiers[:1],
        more=partial(_interpolated, network),
    )


def _interpolated(network: Any, images: Tensor) -> Mapping[str, Any]:
    """Ask for interpolated positions where images are of another size than those the network was configured for."""
    side = getattr(network.config, "image_size", None)
    sides = (side, side) if isinstance(side, int) else tuple(side or ())
    takes = INTERPOLATES in inspect.signature(network.forward).parameters
    return {INTERPOLATES: True} if takes and tuple(images.shape[-2:]) != sides else {}


def _layers_of(body: nn.Module) -> list[nn.Module] | None:
    for place in (body, *(getattr(body, name, None) for name in ("encoder", "model"))):
        found = None if place is None else first_of(place, ("layers", "layer"))
        if isinstance(found, nn.ModuleList) and len(found) and hasattr(found[0], "mlp"):
            return list(found)
    return None


def _norm_of(body: nn.Module) -> Any:
    return first_of(body, ("layernorm", "post_layernorm", "norm"))


def _transformers_roles(body: nn.Module) -> tuple[str, ...]:
    embeddings = body.get_submodule("embeddings")
    registers = getattr(embeddings, "register_tokens", None)
    own = [CLASS] if first_of(embeddings, ("cls_token", "class_embedding")) is not None else []
    own += [DISTILLATION] if getattr(embeddings, "distillation_token", None) is not None else []
    return (*own, *([REGISTERS] * (0 if registers is None else registers.shape[-2])))


def _transformers_pool(head: nn.Module) -> Block | None:
    """Return SigLIP's attention pooling, whose tokens come normalized."""
    attention, inner = attention_of(head.get_submodule("attention"), {}), mlp_layers(head.get_submodule("mlp"))
    if attention is None or inner is None:
        return None
    out = attention.pop("out")
    branch = Residual(plain_norm(head.get_submodule("layernorm")), *inner)
    latent: Tensor = head.get_parameter("probe")[0].detach()
    return Block(norm=nn.Identity(), out=nn.Sequential(*out, branch), mlp=None, latent=latent, **attention)


def _transformers_output(output: Any) -> Tensor | None:
    for name in ("image_embeds", "pooler_output"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    hidden = output.get("last_hidden_state") if isinstance(output, Mapping) else output
    return hidden[:, 0] if isinstance(hidden, Tensor) and hidden.dim() == 3 else None


def head_of(network: TokenNetwork, readout: str) -> nn.Module:
    """Return the layers from the pooled tokens of a readout to the embedding."""
    late = [] if network.norm_after is None else [network.norm_after]
    if readout in ("mean", "attention-pool"):
        layers = [*late, *network.after] if network.own == readout else late
    elif readout == "class+mean":
        layers = [Parallel([network.norm, nn.Identity()], [network.width] * 2)]
    else:
        count = len(network.queries)
        norm = network.norm if count == 1 else Parallel([network.norm] * count, [network.width] * count)
        layers = [norm, *late, *(network.after if network.own == "class" else network.after[: count - 1])]
    kept = [layer for layer in layers if not is_nothing(layer)]
    return nn.Sequential(*kept)


def embedding_of(network: TokenNetwork, output: Any, read: list[Tensor]) -> Tensor | None:
    """Return the embedding that the network itself made: what its classifiers read, or its output."""
    if network.classifiers:
        return torch.stack(read).mean(dim=0) if read else None
    return network.outcome(output)
