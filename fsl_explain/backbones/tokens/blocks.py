"""Blocks of other libraries as the layers that a class token's stream goes through.

A block is recognized by the names of its parts, whatever its class is called; whether it computes what these parts
say is checked with the first image that is read. The layers share the block's parameters.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fsl_explain.heads.block_layers import Affine, Elementwise, Gated, Instead, Residual, Scale, Vector
from fsl_explain.readouts.block import Block

NORMS = ("norm1", "ln_1", "layernorm_before", "layer_norm1")
NORMS_BEFORE_MLP = ("norm2", "ln_2", "layernorm_after", "layer_norm2")
ATTENTIONS = ("attn", "attention", "self_attn", "self_attention")
SCALES = ("ls1", "gamma_1", "gamma1", "layer_scale1", "ls_1")
SCALES_OF_MLP = ("ls2", "gamma_2", "gamma2", "layer_scale2", "ls_2")
OF_A_SCALE = ("gamma", "lambda1", "scale")
OUTS = ("proj", "o_proj", "out_proj")
ROTATED = ("rope", "position_embeddings")


def block_of(module: nn.Module, given: Mapping[str, Any]) -> Block | None:
    """Return a block's layers, or None for one whose parts are not known; ``given`` are its keyword arguments."""
    norm, before_mlp = first_of(module, NORMS), first_of(module, NORMS_BEFORE_MLP)
    attention, mlp = first_of(module, ATTENTIONS), first_of(module, ("mlp",))
    if norm is None or before_mlp is None or attention is None or mlp is None:
        return None
    inner = mlp_layers(mlp)
    found = attention_of(attention, given)
    if inner is None or found is None or _has_more(module, attention):
        return None
    out = [*found.pop("out"), *_scale(module, SCALES)]
    chain = [plain_norm(before_mlp), *inner, *_scale(module, SCALES_OF_MLP)]
    activation = inner[1] if isinstance(inner[1], Elementwise) else None
    if hasattr(module, "tokens_norm"):  # XCiT's MLP goes on from the normalized token
        chain, activation = [Instead(chain[0], Residual(*chain[1:]))], None
    return Block(
        norm=plain_norm(norm), out=nn.Sequential(*out), mlp=nn.Sequential(*chain), activation=activation, **found
    )


def listened_to(module: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    """Return a block's norm before its MLP, and the layer of the MLP that its activation reads, where there is one."""
    mlp = first_of(module, ("mlp",))
    inner = None if mlp is None else mlp_layers(mlp)
    first = None if inner is None or not isinstance(inner[1], Elementwise) else inner[0]
    return first_of(module, NORMS_BEFORE_MLP), first


def first_of(module: nn.Module, names: tuple[str, ...]) -> Any:
    """Return the first attribute that is there, or None."""
    return next((getattr(module, name) for name in names if getattr(module, name, None) is not None), None)


def attention_of(attention: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a block knows of its attention, by the names of its fields."""
    if isinstance(attention, nn.MultiheadAttention):
        return _torch_attention(attention)
    found = _projections(attention)
    out = first_of(attention, OUTS)
    heads = first_of(attention, ("num_heads", "num_attention_heads"))
    if found is None or not isinstance(out, nn.Linear) or not isinstance(heads, int):
        return None
    inner = [] if is_nothing(getattr(attention, "norm", None)) else [plain_norm(attention.norm)]
    scale = first_of(attention, ("scale", "scaling"))
    return {
        **found,
        "heads": heads,
        "out": [*inner, out],
        "query_norm": _optional_norm(attention, "q_norm"),
        "key_norm": _optional_norm(attention, "k_norm"),
        "rotate": _rotation(attention, given),
        "scale": float(scale) if isinstance(scale, float) else None,
    }


def mlp_layers(mlp: Any) -> list[nn.Module] | None:
    """Return the layers of a block's MLP, or None where its parts are not known."""
    first, last = first_of(mlp, ("fc1", "c_fc", "0")), first_of(mlp, ("fc2", "c_proj", "3"))
    activation = first_of(mlp, ("act", "gelu", "activation_fn", "act_fn", "activation", "1"))
    between = [] if is_nothing(getattr(mlp, "norm", None)) else [plain_norm(mlp.norm)]
    if isinstance(mlp, nn.Sequential) and first is None and len(mlp) >= 3:
        first, activation, last = mlp[0], mlp[1], mlp[3 if len(mlp) > 3 else 2]
    gate, value = _gate_and_value(mlp, first)
    down = last if last is not None else first_of(mlp, ("down_proj", "w3"))
    up = first if first is not None else first_of(mlp, ("up_proj",))
    if activation is None and gate is not None:
        activation = nn.functional.silu  # the official SwiGLU of DINOv2 calls it by name
    if not isinstance(down, nn.Linear) or not callable(activation):
        return None
    if gate is not None and value is not None:
        return [Gated(gate, Elementwise(activation), value), *between, down]
    if not isinstance(up, nn.Linear) or up.out_features != down.in_features:
        return None
    return [up, Elementwise(activation), *between, down]


def plain_norm(norm: Any) -> nn.Module:
    """Return a norm of vectors that shares the parameters of a norm of any library."""
    if isinstance(norm, nn.LayerNorm):
        return Vector(norm) if "2d" in type(norm).__name__ else norm
    if re.search(r"rms_?norm", type(norm).__name__, re.IGNORECASE) and not isinstance(norm, nn.RMSNorm):
        weight, eps = getattr(norm, "weight", None), first_of(norm, ("eps", "variance_epsilon"))
        made = nn.RMSNorm(1 if weight is None else len(weight), eps=eps, elementwise_affine=weight is not None)
        if weight is not None:
            made.weight = weight
        return made
    found: nn.Module = norm
    return found


def is_nothing(module: object) -> bool:
    """Whether a module does nothing."""
    return module is None or isinstance(module, nn.Identity)


def _has_more(module: nn.Module, attention: nn.Module) -> bool:
    """Whether there are parts that these layers do not hold: gates, biases of positions, a third norm."""
    more = [name for name, _ in module.named_children() if re.fullmatch(r"norm[3-9]|ln_[3-9]|ln_1_kv", name)]
    inside = ("gate", "relative_position_bias_table", "rel_pos_bias", "temperature")
    return bool(more) or any(getattr(attention, name, None) is not None for name in inside)


def _scale(module: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    found = first_of(module, names)
    if is_nothing(found):
        return []
    return [Scale(found if isinstance(found, Tensor) else first_of(found, OF_A_SCALE))]


def _projections(attention: Any) -> dict[str, Affine] | None:
    fused = getattr(attention, "qkv", None)
    if isinstance(fused, nn.Linear):
        biases = [getattr(attention, name, None) for name in ("q_bias", "k_bias", "v_bias")]
        if biases[0] is not None and biases[2] is not None:
            biases[1] = torch.zeros_like(biases[0]) if biases[1] is None else biases[1]
        else:
            biases = list(fused.bias.chunk(3)) if fused.bias is not None else [None] * 3
        parts = [Affine(weight, bias) for weight, bias in zip(fused.weight.chunk(3), biases, strict=True)]
    elif isinstance(getattr(attention, "kv", None), nn.Linear) and isinstance(getattr(attention, "q", None), nn.Linear):
        both = zip(attention.kv.weight.chunk(2), _halves(attention.kv.bias), strict=True)
        parts = [Affine(attention.q.weight, attention.q.bias), *(Affine(weight, bias) for weight, bias in both)]
    else:
        layers = [first_of(attention, names) for names in (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"))]
        if not all(isinstance(layer, nn.Linear) for layer in layers):
            return None
        parts = [Affine(layer.weight, layer.bias) for layer in layers]
    if len({len(part.weight) for part in parts}) > 1:
        return None  # keys and values that several heads share
    return dict(zip(("query", "key", "value"), parts, strict=True))


def _halves(bias: Tensor | None) -> tuple[Tensor | None, ...]:
    return (None, None) if bias is None else bias.chunk(2)


def _torch_attention(attention: nn.MultiheadAttention) -> dict[str, Any] | None:
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        return None
    biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    parts = [Affine(weight, bias) for weight, bias in zip(attention.in_proj_weight.chunk(3), biases, strict=True)]
    found: dict[str, Any] = dict(zip(("query", "key", "value"), parts, strict=True))
    return {**found, "heads": attention.num_heads, "out": [attention.out_proj]}


def _gate_and_value(mlp: nn.Module, first: Any) -> tuple[nn.Module | None, nn.Module | None]:
    """Return the two layers whose product a gated MLP takes, the gate first."""
    gate, value = first_of(mlp, ("fc1_g", "gate_proj")), first_of(mlp, ("fc1_x", "up_proj"))
    if gate is not None and value is not None:
        return gate, value
    packed = first_of(mlp, ("w12", "weights_in")) if first is None else first if hasattr(mlp, "gate_last") else None
    if not isinstance(packed, nn.Linear):
        return None, None
    weights = packed.weight.chunk(2)
    biases = [None, None] if packed.bias is None else list(packed.bias.chunk(2))
    one, other = (Affine(weight, bias) for weight, bias in zip(weights, biases, strict=True))
    return (other, one) if getattr(mlp, "gate_last", False) else (one, other)


def _optional_norm(attention: nn.Module, name: str) -> nn.Module | None:
    found = getattr(attention, name, None)
    return None if is_nothing(found) else found


def _rotation(attention: nn.Module, given: Mapping[str, Any]) -> Callable[[Tensor], Tensor] | None:
    """Return how queries and keys are turned by their position, where the block was given positions."""
    rope = next((given[name] for name in ROTATED if given.get(name) is not None), None)
    if rope is None:
        return None
    if isinstance(rope, Tensor):
        sin, cos = (part.detach() for part in rope.chunk(2, dim=-1))
        half = bool(getattr(attention, "rotate_half", False))
    else:
        cos, sin = (part.detach() for part in rope)
        half = True

    def rotated(values: Tensor) -> Tensor:
        """Turn the patches and leave the tokens before them (Su et al., 2021); pairs lie apart or side by side."""
        prefix = values.shape[-2] - sin.shape[-2]
        patches = values[..., prefix:, :]
        turned = _half_turned(patches) if half else _turned(patches)
        return torch.cat([values[..., :prefix, :], patches * cos.to(values) + turned * sin.to(values)], dim=-2)

    return rotated


def _half_turned(values: Tensor) -> Tensor:
    first, second = values.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def _turned(values: Tensor) -> Tensor:
    return torch.stack([-values[..., 1::2], values[..., ::2]], dim=-1).flatten(-2)
