"""The rules written a second time, slowly: every layer as a matrix, every product by itself."""

import pytest
import torch
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.pullback.named import PULLBACKS
from fsl_explain.pullback.rules import Gamma

SIDE = 8


def network(seed=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = (nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU())
        net = nn.Sequential(*layers, nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 5, 2, stride=2, bias=False))
    for layer in net:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias, 0, 0.5)
    return net.double()


def as_matrix(layer, size):
    """Return a convolution's products as (input, output), and its bias for each output."""
    inputs = torch.eye(size.numel(), dtype=torch.float64).reshape(-1, *size)
    with torch.no_grad():
        nothing = layer(inputs[:1] * 0)
        return (layer(inputs) - nothing).flatten(1), nothing.flatten()


def shares_of(rule, products, bias):
    """Return what each product, and the bias, of one output gets of its relevance, and what is absorbed."""
    total = sum(products) + bias
    if rule == "abs":
        sizes = [abs(one) for one in products]
        return [one / sum(sizes) for one in sizes], 0.0
    if rule == "z-plus":
        sizes = [max(one, 0.0) for one in products]
        return ([one / sum(sizes) for one in sizes], 0.0) if sum(sizes) else ([0.0 for _ in sizes], 1.0)
    sign = 1.0 if total >= 0 else -1.0
    counted = [one * (1.25 if one * sign > 0 else 1.0) for one in products]
    if rule == "gamma":
        with_bias = bias * (1.25 if bias * sign > 0 else 1.0)
        whole = sum(counted) + with_bias
        return [one / whole for one in counted], with_bias / whole
    sign = 1.0 if sum(products) >= 0 else -1.0
    counted = [one * (1.25 if one * sign > 0 else 1.0) for one in products]
    return [one / sum(counted) for one in counted], 0.0


def back(rule, layer, values, relevance):
    """Return what each input gets, and what stays at each output."""
    matrix, bias = as_matrix(layer, values.shape)
    flat, given = values.flatten(), relevance.flatten()
    found, left = torch.zeros_like(flat), torch.zeros_like(given)
    for j in range(len(given)):
        products = [float(flat[i] * matrix[i, j]) for i in range(len(flat))]
        if all(one == 0 for one in products) and rule in ("abs", "gamma-shared"):
            left[j] = given[j]
            continue
        shares, stays = shares_of(rule, products, float(bias[j]))
        for i, share in enumerate(shares):
            found[i] += share * given[j]
        left[j] += stays * given[j]
    return found.reshape(values.shape), left.reshape(relevance.shape)


@pytest.mark.parametrize("rule", ["abs", "gamma", "gamma-shared", "z-plus"])
def test_products_one_by_one(rule):
    net, image = network(), torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    supports = torch.randn(2, 1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).double()
    encoder = Encoder.wrap(net, tail="ignore")
    found = explain(encoder, image, supports, method="exact", similarity="inner-product", detail=2, pullback=rule)
    plain = encoder(torch.cat([image, supports[int(found.target)]]))
    relevance = plain.maps[0] / plain.maps[0, 0].numel() * plain.pooled[1][:, None, None]
    with torch.no_grad():
        outputs = [image[0]]
        for layer in net:
            outputs.append(layer(outputs[-1][None])[0])
    expected, arrived = torch.zeros(SIDE, SIDE).double(), relevance
    for number in (5, 4, 2):  # the maps of 8×8 cells are those before the strided convolution
        arrived, left = back(rule, net[number], outputs[number], arrived)
        larger = SIDE // left.shape[-1]
        expected += left.sum(dim=0).repeat_interleave(larger, dim=0).repeat_interleave(larger, dim=1) / larger**2
    expected += arrived.sum(dim=0)
    torch.testing.assert_close(found.cells[0], expected)


def test_gamma_of_nothing_is_the_product_itself():
    """With γ = 0 every addend is its product: gradient times input, with gains frozen."""
    net, image = network(), torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    supports = torch.randn(2, 1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).double()
    options = {"similarity": "inner-product", "detail": 2, "pullback": Gamma(0.0), "biases": "apart"}
    linear = nn.Sequential(net[2], net[4], net[5]).double()
    linear[0] = nn.Conv2d(3, 4, 3, stride=2, padding=1).double()
    encoder = Encoder.wrap(linear, tail="ignore")
    found = explain(encoder, image, supports, **options)
    leaf = image.clone().requires_grad_()
    reference = encoder(supports[int(found.target)]).pooled
    (gradient,) = torch.autograd.grad((linear(leaf).mean(dim=(-2, -1)) * reference).sum(), leaf)
    torch.testing.assert_close(found.cells[0], (image * gradient).sum(dim=1)[0])


def test_every_rule_is_written_twice_or_stands_in_a_law():
    assert set(PULLBACKS) == {"abs", "gamma", "gamma-by-depth", "gamma-shared", "epsilon", "z-plus"}
