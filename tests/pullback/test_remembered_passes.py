"""Passes that are compared with one that was written down: the same maps as if each were written down itself."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fsl_explain import Encoder
from fsl_explain.pullback import detail
from fsl_explain.pullback.named import PULLBACKS
from tests.pullback.followed_networks import BLOCKS, network, normalized, strided


def images(count=2, seed=1, side=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def wrapped(net, pullback="abs", biases="drawn"):
    return Encoder.wrap(net, layer="block", tail="ignore").with_detail(1, biases, pullback)


def drawn(encoder, batch):
    """Return maps, what arrives and what is left, for one weight a channel."""
    found = encoder(batch)
    finer = found.finer.drawn(
        found.maps, torch.linspace(-1, 2, found.maps.shape[1], dtype=torch.float64)[:, None, None]
    )
    return [found.maps, finer.cells, *([] if finer.apart is None else [finer.apart])]


def as_if_first(encoder, batch):
    """Return the same of a copy of the network that has seen nothing."""
    wanted = encoder.detail.wanted
    return drawn(wrapped(deepcopy(encoder.network), wanted.rule, wanted.biases), batch)


@pytest.fixture
def written(monkeypatch):
    """Count the passes that are written down operation by operation."""
    seen, recorded = [], detail.recorded

    def counted(*given):
        seen.append(given)
        return recorded(*given)

    monkeypatch.setattr(detail, "recorded", counted)
    return seen


@pytest.mark.parametrize("biases", ["drawn", "apart"])
@pytest.mark.parametrize("pullback", list(PULLBACKS))
@pytest.mark.parametrize("kind", list(BLOCKS))
def test_later_passes_are_drawn_as_if_each_were_the_first(kind, pullback, biases, written):
    encoder = wrapped(network(kind), pullback, biases)
    drawn(encoder, images(seed=1))
    before = len(written)
    later = [drawn(encoder, images(seed=seed)) for seed in (2, 3)]
    assert len(written) == before, "they were written down again"
    for seed, found in zip((2, 3), later, strict=True):
        torch.testing.assert_close(found, as_if_first(encoder, images(seed=seed)), rtol=0, atol=0)


def test_other_numbers_and_sizes_of_images_are_written_down_once_each(written):
    encoder = wrapped(network("residual"))
    for count, side, passes in ((2, 16, 2), (3, 16, 1), (2, 24, 2), (3, 16, 0), (2, 16, 0), (2, 24, 0)):
        written.clear()
        found = drawn(encoder, images(count, seed=4, side=side))
        assert len(written) == passes  # a new size is asked about with one image first
        torch.testing.assert_close(found, as_if_first(encoder, images(count, seed=4, side=side)), rtol=0, atol=0)


def doubled(net):
    net.block[1].weight.data.mul_(2)


def replaced_data(net):
    net.block[1].weight.data = net.block[1].weight.data.flip(0) - 1


def another_parameter(net):
    net.block[1].weight = nn.Parameter(net.block[1].weight.detach().flip(0) + 1)


def other_statistics(net):
    net.block[0][1].running_mean += 1
    net.block[0][1].running_var.mul_(3)


def other_buffers(net):
    net.block[0][1].running_mean = net.block[0][1].running_mean - 2


def another_function(net):
    net.block[2] = nn.Tanh()


def other_options(net):
    net.block[1].padding, net.block[1].dilation = (2, 2), (2, 2)


def more_layers(net):
    net.block.append(nn.Conv2d(6, 6, 1).double())


def fewer_layers(net):
    del net.block[2]


@pytest.mark.parametrize("pullback", ["abs", "gamma"])
@pytest.mark.parametrize(
    "change",
    [
        *(doubled, replaced_data, another_parameter, other_statistics, other_buffers),
        *(another_function, other_options, more_layers, fewer_layers),
    ],
)
def test_a_network_that_has_changed_is_drawn_as_it_is_now(change, pullback):
    net = network("convolutions")
    encoder = wrapped(net, pullback)
    for seed in (1, 2):
        drawn(encoder, images(seed=seed))
    with torch.no_grad():
        change(net)
    for seed in (3, 4):
        torch.testing.assert_close(
            drawn(encoder, images(seed=seed)), as_if_first(encoder, images(seed=seed)), rtol=0, atol=0
        )


class Switching(nn.Module):
    """Other operations behind the source for some images: the same functions of the same shapes, but not the same."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.down, self.norm = kind, strided(4, 4), normalized(4)
        self.one, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, maps):
        is_bright = bool(getattr(self, "bright", False))
        maps = self.down(maps)
        left, right = self.one(maps), self.other(maps)
        if self.kind == "which tensor":
            return F.relu(left if is_bright else right) + maps
        if self.kind == "which weights":
            return F.conv2d(maps, (self.one if is_bright else self.other).weight)
        if self.kind == "which option":
            return torch.add(left, right, alpha=3 if is_bright else 1)
        if self.kind == "which order":
            return torch.sub(left, right) if is_bright else torch.sub(right, left)
        if self.kind == "which end":
            return left if is_bright else right
        if self.kind == "new weights":
            return F.conv2d(maps, self.one.weight * (2 if is_bright else 1))
        assert self.kind == "overwritten"
        found = self.one(maps)
        if is_bright:
            left.mul_(2)
        return found + left


@pytest.mark.parametrize(
    "kind",
    [
        *("which tensor", "which weights", "which option", "which order", "which end"),
        *("new weights", "overwritten"),
    ],
)
def test_a_forward_pass_that_goes_another_way_is_drawn_as_it_went(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential()
        net.stem, net.block = strided(3, 4), Switching(kind)
    net.double()
    encoder = wrapped(net)
    for seed, bright in ((1, False), (2, False), (3, True), (4, True), (5, False)):
        net.block.bright = bright
        torch.testing.assert_close(
            drawn(encoder, images(seed=seed)), as_if_first(encoder, images(seed=seed)), rtol=0, atol=0
        )


def test_no_more_sizes_are_remembered_than_wanted(monkeypatch):
    monkeypatch.setattr(detail, "PROGRAMS", 2)
    encoder = wrapped(network("gated"))
    for count in (1, 2, 3, 1):
        drawn(encoder, images(count))
    assert len(encoder.detail._programs) == 2
