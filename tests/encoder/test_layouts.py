"""Maps of another layout are recognized, put in order or refused; those in order never are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fsl_explain import Encoder, Mistake, explain
from fsl_explain.explainers.methods.class_logit import class_logit_map


class Network(nn.Module):
    """A convolution, what a function makes of its maps, and a classifier."""

    def __init__(self, then, channels=8, stride=4):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, channels, stride, stride)
            self.classifier = nn.Linear(channels, 3)
        self.then = then

    def forward(self, images):
        return self.then(self.conv(images))


class Blocks(nn.Module):
    """A layer whose output is channels last, behind which the network permutes it back."""

    def __init__(self, channels=8):
        super().__init__()
        self.body = Network(lambda maps: maps.permute(0, 2, 3, 1), channels)
        self.classifier = nn.Linear(channels, 3)

    def forward(self, images):
        return self.classifier(self.body(images).mean(dim=(1, 2)))


def batch(size=32, height=None, count=2):
    return torch.rand(count, 3, height or size, size, generator=torch.Generator().manual_seed(0))


SAME = {"itself": lambda maps: maps, "rectified": F.relu, "of no memory order": lambda maps: maps.flip(1)}
LAST = {
    "permuted": lambda maps: maps.permute(0, 2, 3, 1),
    "made so": lambda maps: maps.permute(0, 2, 3, 1).contiguous(),
}


@pytest.mark.parametrize("size", [16, 32, 28, (20, 32), (36, 24)], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 6, 7, 8, 9, 16])
@pytest.mark.parametrize("then", [*SAME, *LAST])
def test_maps_have_their_channels_first_whatever_gives_them(then, channels, size):
    """Also where there are as many channels as rows or columns, by chance."""
    height, width = (size, size) if isinstance(size, int) else size
    images = batch(width, height)
    network = Network((SAME | LAST)[then], channels)
    maps = Encoder(network)(images).maps
    torch.testing.assert_close(maps, SAME.get(then, SAME["itself"])(network.conv(images)))


def test_a_second_forward_pass_is_made_once_and_only_where_the_shape_leaves_it_open():
    for channels, passes in ((64, [2, 2]), (8, [2, 1, 2])):
        network, seen = Network(lambda maps: maps.flip(1), channels), []
        network.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
        encoder = Encoder(network)
        encoder(batch()), encoder(batch())
        assert seen == passes


REFUSED = {
    "an embedding": (
        lambda maps: maps.mean(dim=(2, 3)),
        r"from the (network|layer) Network, but got shape \(2, 8\); choose",
    ),
    "tokens": (lambda maps: maps.flatten(2).mT, r"got shape \(2, 64, 8\); choose .* say layout='tokens'"),
    "a tuple": (lambda maps: (maps, maps), r"got tuple of 2 values; choose"),
    "a list": (lambda maps: [maps], r"got list of 1 values; choose"),
    "a dict": (lambda maps: {"out": maps}, r"got dict of out; choose"),
    "another batch": (lambda maps: maps.flatten(0, 1)[:, None], r"got shape \(16, 1, 8, 8\); choose"),
    "whole numbers": (lambda maps: maps.long(), r"of real numbers from .*, but got torch.int64; choose"),
    "no cells": (lambda maps: maps[:, :, :0], r"got shape \(2, 8, 0, 8\); choose"),
    "nested": (lambda maps: torch.nested.as_nested_tensor(list(maps)), "got a nested tensor; choose"),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_maps_is_refused_whatever_gives_it(what):
    then, sentence = REFUSED[what]
    with pytest.raises(ValueError, match=sentence):
        Encoder(Network(then))(batch())
    outer = nn.Sequential(Network(then), nn.Identity())
    with pytest.raises(ValueError, match=sentence):
        Encoder.wrap(outer, "0")(batch())


def test_what_cannot_be_told_is_asked_for():
    """A network for images of one size, with as many channels as rows and columns."""

    def fixed(maps):
        assert maps.shape[-1] == 8
        return maps.permute(0, 2, 3, 1)

    network, images = Network(fixed), batch()
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8, 8\) .*layout='channels-first' or layout='channels-last'"):
        Encoder(network)(images)
    maps = Encoder(network, layout="channels-last")(images).maps
    torch.testing.assert_close(maps, network.conv(images))
    torch.testing.assert_close(Encoder(network, layout="channels-first")(images).maps, network(images))
    with pytest.raises(LookupError, match="unknown layout 'channel-last'"):
        Encoder(network, layout="channel-last")


def test_tokens_of_a_square_grid_are_maps_row_by_row():
    network = Network(lambda maps: maps.flatten(2).mT)
    torch.testing.assert_close(Encoder(network, layout="tokens")(batch()).maps, network.conv(batch()))
    with_class = Network(lambda maps: F.pad(maps.flatten(2).mT, (0, 0, 1, 0)))
    with pytest.raises(ValueError, match=r"got 65 of them, .* no class token"):
        Encoder(with_class, layout="tokens")(batch())
    with pytest.raises(ValueError, match=r"shape \(2, token, channel\) .* got shape \(2, 8, 8, 8\)"):
        Encoder(Network(lambda maps: maps), layout="tokens")(batch())


@pytest.mark.parametrize("method", ["exact", "contrast", "grad-cam", "lafam", "fam"])
def test_explanations_of_both_layouts_are_equal(method):
    query, supports = batch(count=1)[0], {"a": batch(count=3)[1:], "b": batch(count=5)[3:]}
    last = explain(Encoder.wrap(Blocks(), "body"), query, supports, method=method)
    first = explain(Encoder.wrap(Blocks(), "body.conv"), query, supports, method=method)
    torch.testing.assert_close(last.cells, first.cells)
    torch.testing.assert_close(last.score, first.score)


@pytest.mark.parametrize("method", ["grad-cam", "layercam"])
def test_class_activation_maps_of_both_layouts_are_equal(method):
    network = Blocks()
    last, first = (class_logit_map(Encoder.wrap(network, layer), batch(), method) for layer in ("body", "body.conv"))
    torch.testing.assert_close(last.cells, first.cells)
    torch.testing.assert_close(last.channels, first.channels)


@pytest.mark.parametrize(("layer", "channels"), [("features", 768), ("norm", 768), ("features.0", 96)])
def test_swin_transformers_give_their_channels(layer, channels):
    encoder = Encoder.named("torchvision:swin_t", layer=layer, tail="ignore")
    found = encoder(torch.rand(1, 3, 64, 64))
    assert found.maps.shape[1] == found.embedding.shape[-1] == channels
    assert found.maps.shape[2] == found.maps.shape[3]


def test_one_cell_has_no_places_unless_it_is_meant():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    batch = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Mistake, match="expected maps of several cells from the layer AdaptiveAvgPool2d, but got one"):
        Encoder.wrap(network, "1")(batch)
    for meant in ({"layout": "channels-first"}, {"tail": "ignore"}):
        assert Encoder.wrap(network, "1", **meant)(batch).maps.shape == (2, 4, 1, 1)
