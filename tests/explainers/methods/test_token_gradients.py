"""Grad-CAM and its kin on tokens that are read out: the gradient at the patches that the last block reads."""

import pytest
import torch
from small_transformers import NETWORKS, pictures, timm_vit

from fsl_explain import Encoder, explain
from fsl_explain.explainers.methods.class_logit import FORMULAS

SUPPORTS = {"a": pictures(2, seed=2), "b": pictures(1, seed=3)}


def both_behind_each_other(network, output):
    """The class token and the mean of the patches of timm's network, each behind the norm."""
    normalized = network.norm(output)
    return torch.cat([normalized[:, 0], normalized[:, network.num_prefix_tokens :].mean(dim=1)], dim=-1)


def by_hooks(encoder, query, formula):
    """The map of a formula from the network's own backward pass, through its last block and its own output."""
    network, parts = encoder.network, encoder.tokens.parts
    entered = []

    def begin(_module, args):
        entered.append(args[0].detach().requires_grad_())
        return (entered[-1], *args[1:])

    def go_on(_module, _args, output):
        entered.append(output.detach().requires_grad_())
        return entered[-1]

    pools = encoder.tokens.readout == "attention-pool"
    handle = network.norm.register_forward_hook(go_on) if pools else parts.blocks[-1].register_forward_pre_hook(begin)
    left = []
    leaving = parts.blocks[-1].register_forward_hook(lambda *of: left.append(of[-1]))
    found = parts.outcome(network(query[None]))
    handle.remove()
    leaving.remove()
    made = both_behind_each_other(network, left[0]) if encoder.tokens.readout == "class+mean" else found
    score = torch.cosine_similarity(made, encoder(SUPPORTS["a"]).embedding).mean()
    (gradient,) = torch.autograd.grad(score, entered[0])
    patches = (one[0, len(parts.roles) :].mT.unflatten(-1, (2, 2)) for one in (entered[0].detach(), gradient))
    return formula(*patches).cells.clamp(min=0)


CASES = [(name, None) for name in ("timm", "timm, registers", "timm, norms of heads", "timm, pooled", "open_clip")]
CASES += [(name, "class+mean") for name in ("timm", "timm, registers", "timm, norms of heads")]


def wrapped(name, readout):
    pooled = lambda: timm_vit(global_pool="map", class_token=False)  # noqa: E731
    return Encoder.wrap((NETWORKS | {"timm, pooled": pooled})[name](), readout=readout)


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize(("name", "readout"), CASES)
def test_the_map_is_that_of_the_networks_own_backward_pass(name, readout, method):
    encoder, query = wrapped(name, readout), pictures(seed=1)
    if method == "hirescam" and encoder.tokens.readout == "class":
        return
    found = explain(encoder, query, SUPPORTS, method=method, target="a")
    torch.testing.assert_close(found.cells, by_hooks(encoder, query, FORMULAS[method]))


@pytest.mark.parametrize("name", ["timm", "timm, registers", "open_clip"])
def test_hirescam_of_a_class_token_would_be_rounding(name):
    """The last block begins with a norm, so that no patch's length changes the score."""
    encoder, query = wrapped(name, "class"), pictures(seed=1)
    assert float(by_hooks(encoder, query, FORMULAS["hirescam"]).max()) < 1e-6
    with pytest.raises(ValueError, match="gradient times activation to differ from 0 in some cell, but it sums to 0"):
        explain(encoder, query, SUPPORTS, method="hirescam", target="a")
