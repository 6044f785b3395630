"""zennit's γ and ε rules on a plain stack of convolutions, as an independent writing of ours."""

import pytest
import torch
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.pullback.rules import Epsilon, Gamma

zennit_rules = pytest.importorskip("zennit.rules")


def stack():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Conv2d(4, 6, 2, stride=2)).double()
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.bias, 0, 0.3)
    return net


def by_zennit(net, rule, image, reference, layers):
    """Return what their rule puts on the input of the named layers, the relevance of the output given."""
    hooks = [rule() for _ in layers]
    handles = [hook.register(net[layer]) for hook, layer in zip(hooks, layers, strict=True)]
    try:
        leaf = image.clone().requires_grad_()
        output = net(leaf)
        relevance = output.detach() / output[0, 0].numel() * reference[:, None, None]
        (found,) = torch.autograd.grad(output, leaf, grad_outputs=relevance)
    finally:
        for handle in handles:
            handle.remove()
    return found.sum(dim=1)


@pytest.mark.parametrize("gamma", [0.05, 0.25, 1.0])
def test_the_gamma_rule(gamma):
    net, generator = stack(), torch.Generator().manual_seed(8)
    image, supports = (torch.randn(*shape, 3, 8, 8, generator=generator).double() for shape in ((1,), (2, 1)))
    encoder = Encoder.wrap(net, tail="ignore")
    options = {"similarity": "inner-product", "biases": "apart", "pullback": Gamma(gamma), "detail": 1}
    found = explain(encoder, image, supports, **options)
    reference = encoder(supports[int(found.target)]).pooled[0]
    theirs = by_zennit(
        net[4:], lambda: zennit_rules.Gamma(gamma, stabilizer=0.0), net[:4](image).detach(), reference, [0]
    )
    torch.testing.assert_close(found.cells, theirs)


def test_the_gamma_rule_through_all_layers_to_the_pixels():
    net, generator = stack(), torch.Generator().manual_seed(8)
    deep = nn.Sequential(nn.Conv2d(3, 3, 2, stride=2).double(), *net)
    image, supports = (torch.randn(*shape, 3, 16, 16, generator=generator).double() for shape in ((1,), (2, 1)))
    encoder = Encoder.wrap(deep, tail="ignore")
    found = explain(
        encoder, image, supports, similarity="inner-product", biases="apart", pullback=Gamma(0.25), detail=2
    )
    reference = encoder(supports[int(found.target)]).pooled[0]
    theirs = by_zennit(deep, lambda: zennit_rules.Gamma(0.25, stabilizer=0.0), image, reference, [0, 1, 3, 5])
    torch.testing.assert_close(found.cells, theirs)


def test_the_epsilon_rule():
    net, generator = stack(), torch.Generator().manual_seed(8)
    image, supports = (torch.randn(*shape, 3, 8, 8, generator=generator).double() for shape in ((1,), (2, 1)))
    encoder = Encoder.wrap(net, tail="ignore")
    found = explain(
        encoder, image, supports, similarity="inner-product", biases="apart", pullback=Epsilon(0.1), detail=1
    )
    features = encoder(supports[int(found.target)])
    absorbed = 0.1 * float(net(image).detach().square().mean().sqrt())
    theirs = by_zennit(
        net[4:], lambda: zennit_rules.Epsilon(absorbed), net[:4](image).detach(), features.pooled[0], [0]
    )
    torch.testing.assert_close(found.cells, theirs)
