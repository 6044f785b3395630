"""Grad-CAM and its kin on tokens that are read out: the gradient at the patches that the last block reads."""

import pytest
import torch
from small_transformers import NETWORKS, pictures, timm_vit

from fsl_explain import Encoder, explain
from fsl_explain.explainers.methods.class_logit import FORMULAS

SUPPORTS = {"a": pictures(2, seed=2), "b": pictures(1, seed=3)}


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
    found = network(query[None])
    handle.remove()
    score = torch.cosine_similarity(parts.outcome(found), encoder(SUPPORTS["a"]).embedding).mean()
    (gradient,) = torch.autograd.grad(score, entered[0])
    patches = (one[0, len(parts.roles) :].mT.unflatten(-1, (2, 2)) for one in (entered[0].detach(), gradient))
    return formula(*patches).cells.clamp(min=0)


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize("name", ["timm", "timm, registers", "timm, norms of heads", "timm, pooled", "open_clip"])
def test_the_map_is_that_of_the_networks_own_backward_pass(name, method):
    pooled = lambda: timm_vit(global_pool="map", class_token=False)  # noqa: E731
    encoder, query = Encoder.wrap((NETWORKS | {"timm, pooled": pooled})[name]()), pictures(seed=1)
    found = explain(encoder, query, SUPPORTS, method=method, target="a")
    torch.testing.assert_close(found.cells, by_hooks(encoder, query, FORMULAS[method]))


def test_both_readouts_side_by_side_are_refused():
    with pytest.raises(ValueError, match=r"reads it out as 'class\+mean'; use exact, contrast or a method for tokens"):
        explain(Encoder.wrap(timm_vit(), readout="class+mean"), pictures(seed=1), SUPPORTS, method="grad-cam")
