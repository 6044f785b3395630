"""Heads whose gains are found together are frozen as each alone is."""

import pytest
import torch
from embedding_strategies import assert_equal
from tiny_encoder import CHANNELS, HEADS, random_head
from torch import nn

from fsl_explain.heads import linearize
from fsl_explain.heads.alike import linearize_each
from fsl_explain.heads.block_layers import Elementwise
from fsl_explain.heads.constants import Constants

ACTIVATIONS = {
    "gelu": lambda _: nn.GELU(),
    "a gelu that differs": lambda number: nn.GELU("tanh" if number else "none"),
    "elu of another slope": lambda number: nn.ELU(0.5 + number),
    "silu in place": lambda _: nn.SiLU(inplace=True),
    "sigmoid": lambda _: nn.Sigmoid(),
    "softplus": lambda _: nn.Softplus(beta=2),
    "a slope of each channel": lambda number: Elementwise(slopes(number)),
    "a function": lambda _: Elementwise(torch.nn.functional.silu),
    "functions that differ": lambda number: Elementwise(torch.tanh if number else torch.sin),
    "a layer of a library": lambda number: Elementwise(Power(2 + number)),
    "a library's tensor": lambda number: Elementwise(Power(torch.tensor(1.0 + number))),
}


class Power(nn.Module):
    """An activation with a setting that no registered parameter holds."""

    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent

    def forward(self, values):
        return values.abs() ** self.exponent + 1


def slopes(number):
    layer = nn.PReLU(CHANNELS).double()
    layer.weight.data += torch.arange(CHANNELS) + number
    return layer


def alike_heads(name):
    if name in HEADS:
        return [(random_head(name, seed=seed) or nn.Identity()).double() for seed in (1, 2, 3)]
    norms = [nn.LayerNorm(CHANNELS, eps=0.1 * (1 + (number == 2))).double() for number in range(3)]
    for number, norm in enumerate(norms):
        norm.weight.data += number
        norm.bias.data += 1 - number
    return [nn.Sequential(norm, nn.Sequential(ACTIVATIONS[name](number))) for number, norm in enumerate(norms)]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", [*HEADS, *ACTIVATIONS])
def test_each_of_several_heads_is_frozen_as_it_is_alone(name):
    heads, pooled = alike_heads(name), drawn(3, 2, CHANNELS)
    for head, values, found in zip(heads, pooled, linearize_each(heads, list(pooled)), strict=True):
        alone = linearize(head, values)
        gradient = drawn(*alone.offset.shape, seed=1)
        assert_equal(found.pull_back(gradient), alone.pull_back(gradient), 1e-12)
        assert_equal(found.offset, alone.offset, 1e-12)
        assert_equal(found.pull_with_bias(gradient)[1], (gradient * alone.offset).sum(dim=-1), 1e-11)


def test_heads_of_other_lengths_and_known_values_stay_their_own():
    short, long = alike_heads("gelu")[0], nn.Sequential(nn.Linear(CHANNELS, 5), nn.GELU(), nn.Linear(5, 2)).double()
    known = {long[1]: drawn(2, 5, seed=3)}
    found = linearize_each([short, long], [drawn(2, CHANNELS), drawn(2, CHANNELS, seed=1)], known)
    gradient = drawn(2, 2, seed=2)
    alone = linearize(long, drawn(2, CHANNELS, seed=1), known)
    assert_equal(found[1].pull_back(gradient), alone.pull_back(gradient), 1e-12)
    gradient = drawn(2, CHANNELS, seed=2)
    assert_equal(found[0].pull_back(gradient), linearize(short, drawn(2, CHANNELS)).pull_back(gradient), 1e-12)


def test_what_is_met_of_biases_is_summed_whatever_its_shape():
    """Biases of all images and of each, over one dimension and several, as sums of products."""
    met, shared, own = Constants(), drawn(2, 4), drawn(3, 1, 4, seed=1)
    expected = torch.zeros(3, dtype=torch.float64)
    for bias in (*shared, None):
        gradient = drawn(3, 5, 4, seed=2)
        met.meet(gradient, bias, over=2)
        expected += 0 if bias is None else (gradient * bias).sum(dim=(-2, -1))
    met.meet(gradient, own, over=2)
    met.meet(gradient[:, 0], shared[0])
    met.meet(gradient.unflatten(1, (1, 5)).expand(-1, 2, -1, -1), shared[1], over=3)
    expected += (gradient * own).sum(dim=(-2, -1)) + (gradient[:, 0] * shared[0]).sum(dim=-1)
    expected += 2 * (gradient * shared[1]).sum(dim=(-2, -1))
    assert_equal(met.total(gradient), expected, 1e-12)
    assert Constants().total(gradient).shape == ()
