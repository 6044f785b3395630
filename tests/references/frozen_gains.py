"""Who wrote a class token, a second time: the network's own forward with its gains detached, then autograd.

While the mode is on, attention, the statistics of norms, the gains of activations and gates are numbers without a
gradient, so that the gradient by a token, times the token, is what the token wrote. Gates are told by their SiLU.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
    assert attn_mask is None
    assert not is_causal
    products = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return products.softmax(dim=-1).detach() @ value


def multi_head_attention(
    query, key, value, _dim, heads, weight, bias, _bias_k, _bias_v, _zero, _drop, out, out_bias, **_
):
    """Tokens come first here, as the function of torch has them."""
    parts = [F.linear(x, w, b) for x, w, b in zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)]
    of_heads = [part.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for part in parts]
    return F.linear(attention(*of_heads).permute(2, 0, 1, 3).flatten(-2), out, out_bias), None


def layer_norm(values, _shape, weight=None, bias=None, eps=1e-5):
    centered = values - values.mean(dim=-1, keepdim=True)
    normalized = centered / (values.var(dim=-1, correction=0, keepdim=True) + eps).sqrt().detach()
    scaled = normalized if weight is None else normalized * weight
    return scaled if bias is None else scaled + bias


def rms_norm(values, _shape, weight=None, eps=None):
    normalized = values / (values.square().mean(dim=-1, keepdim=True) + eps).sqrt().detach()
    return normalized if weight is None else normalized * weight


def by_its_secant(activation, values, *args, **kwargs):
    return values * (activation(values, *args, **kwargs) / values).detach()


def without_gradient(function, *args, **kwargs):
    return function(*args, **kwargs).detach()


FROZEN = {
    F.scaled_dot_product_attention: attention,
    F.multi_head_attention_forward: multi_head_attention,
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    **{one: partial(by_its_secant, one) for one in (F.gelu, torch.tanh, Tensor.tanh)},
    **{one: partial(without_gradient, one) for one in (F.silu, torch.sigmoid, Tensor.sigmoid)},
    **{one: partial(without_gradient, one) for one in (F.softmax, torch.softmax, Tensor.softmax)},
}


class FrozenGains(TorchFunctionMode):
    """Freeze whatever is computed while it is on."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return FROZEN.get(func, func)(*args, **(kwargs or {}))


@dataclass
class Written:
    """What each token of each role, and the blocks' biases, wrote along a reference."""

    by_token: Tensor  # summed over the blocks
    biases: Tensor
    of_cells_behind: Tensor  # of the patches as they leave the last block, where their mean is read
    score: Tensor


@dataclass
class Leaves:
    """Tokens that were cut off from what made them, by block, and what left the last one."""

    entered: list[Tensor] = field(default_factory=list)
    left: Tensor | None = None


def tokens_by_gradient(encoder, image, reference) -> Written:
    """Cut the tokens off at each block, but for the class tokens behind the first one."""
    parts, readout = encoder.tokens.parts, encoder.tokens.readout
    blocks = parts.blocks[-1:] if readout == "class-last" else parts.blocks
    leaves = Leaves()
    cut_off = partial(_cut_off, leaves, parts)
    handles = [block.register_forward_pre_hook(cut_off, with_kwargs=True) for block in blocks]
    handles.append(blocks[-1].register_forward_hook(partial(_keep, leaves)))
    with FrozenGains():
        encoder.network(image[None])
    for handle in handles:
        handle.remove()
    return _written(encoder, leaves, blocks, reference)


def _cut_off(leaves, parts, _block, args, kwargs):
    tokens = torch.cat([args[1], args[0]], dim=1) if parts.apart else args[0]
    leaf = tokens.detach().clone().requires_grad_()
    entering = leaf
    if leaves.entered:
        entering = leaf.clone()
        entering[:, list(parts.queries)] = tokens[:, list(parts.queries)]
    leaves.entered.append(leaf)
    given = (entering[:, 1:], entering[:, :1]) if parts.apart else (entering, *args[1:])
    return given, kwargs


def _keep(leaves, _block, _args, output):
    leaves.left = output[0] if isinstance(output, tuple) else output


def _written(encoder, leaves, blocks, reference) -> Written:
    parts, cells = encoder.tokens.parts, leaves.left.new_zeros(0, requires_grad=True)
    with FrozenGains():
        pooled = leaves.left[:, list(parts.queries)].flatten(1)
        if encoder.tokens.readout == "class+mean":
            cells = parts.norm(leaves.left[:, len(parts.roles) :]).detach().requires_grad_()
            pooled = torch.cat([pooled, cells.mean(dim=1)], dim=-1)
        score = (encoder.head(pooled)[0] * reference).sum()
    biases = [value for block in blocks for name, value in block.named_parameters() if name.endswith("bias")]
    sought = [*leaves.entered, *biases, cells]
    found = torch.autograd.grad(score, sought, allow_unused=True, materialize_grads=True)
    times = [(gradient * value).detach() for gradient, value in zip(found, sought, strict=True)]
    count = len(leaves.entered)
    return Written(
        by_token=torch.stack([one[0].sum(dim=-1) for one in times[:count]]).sum(dim=0),
        biases=torch.stack([one.sum() for one in times[count:-1]]).sum(),
        of_cells_behind=times[-1].sum(dim=-1).flatten(),
        score=score.detach(),
    )


def pooled_by_gradient(encoder, image, reference) -> Tensor:
    """Return what each normalized cell wrote, along a reference, through attention that pools."""
    leaves = []

    def cut_off(_pool, args):
        leaves.append(args[0].detach().requires_grad_())
        return (leaves[0], *args[1:])

    handle = encoder.tokens.parts.pool.register_forward_pre_hook(cut_off)
    with FrozenGains():
        output = encoder.network(image[None])
        embedding = output if isinstance(output, Tensor) else output.pooler_output
        score = (embedding[0] * reference).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, leaves)
    return (gradient * leaves[0]).sum(dim=-1)[0].detach()
