"""Direct effects in CLIP's image encoder, head by head, in loops (Gandelsman, Efros, Steinhardt, 2024, Eqs. 3 to 6).

c_{i,l,h} = x_i^{l,h}, what head h of layer l copies of token i into the class token; only the last norm follows.
"""

import torch


def direct_effects(network, image, reference):
    """Return, for open_clip's vision transformer, each (layer, head, token)'s effect along a reference.

    The norm before the attention enters without its bias, and so do values: what no token makes is no effect.
    """
    inputs, last = [], []
    hooks = [
        block.register_forward_pre_hook(lambda _block, args: inputs.append(args[0][0]))
        for block in network.transformer.resblocks
    ]
    hooks.append(network.ln_post.register_forward_pre_hook(lambda _norm, args: last.append(args[0][0])))
    with torch.no_grad():
        network(image[None])
    for hook in hooks:
        hook.remove()
    class_token = last[0] if last[0].dim() == 1 else last[0][0]
    spread = (class_token.var(correction=0) + network.ln_post.eps).sqrt()
    direction = (network.proj @ reference) * network.ln_post.weight / spread
    direction = (direction - direction.mean()).detach()
    effects = []
    for block, tokens in zip(network.transformer.resblocks, inputs, strict=True):
        effects.append([_of_head(block, tokens, head, direction) for head in range(block.attn.num_heads)])
    return torch.stack([torch.stack(row) for row in effects]).detach()


def _of_head(block, tokens, head, direction):
    width = tokens.shape[-1] // block.attn.num_heads
    rows = slice(head * width, (head + 1) * width)
    normalized = block.ln_1(tokens)
    (w_q, w_k, w_v), (b_q, b_k, _) = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    query = normalized[0] @ w_q[rows].T + b_q[rows]
    logits = torch.stack([(w_k[rows] @ key + b_k[rows]) @ query / width**0.5 for key in normalized])
    weights = logits.exp() / logits.exp().sum()
    out = block.attn.out_proj.weight[:, rows]
    return torch.stack(
        [
            weight * (out @ (w_v[rows] @ (token - block.ln_1.bias))) @ direction
            for weight, token in zip(weights, normalized, strict=True)
        ]
    )
