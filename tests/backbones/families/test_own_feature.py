"""A network is read as it reads itself: what holds is its own feature on any image, and what is not is seen."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import Permute

from fsl_explain import Encoder, explain
from fsl_explain.backbones.families.own_feature import agreement, own_reading, probe_image
from fsl_explain.heads import linearize
from fsl_explain.heads.on_vectors import PointwiseLinear, vector_head, vector_layers


class Network(nn.Module):
    """Maps, what a function makes of them, and layers of vectors behind."""

    def __init__(self, body, pool, *behind):
        super().__init__()
        self.body, self.behind, self.pool = body, nn.Sequential(*behind), pool
        shaken(self)

    def forward(self, images):
        return self.behind(self.pool(self.body(images)))


class NormOfMaps(nn.LayerNorm):
    """A layer norm over the channels of maps, as libraries write it."""

    def forward(self, maps):
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def shaken(network):
    """Move every parameter and statistic from where it begins, so that no layer does nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, values in (*network.named_parameters(), *network.named_buffers()):
            if values.is_floating_point():
                noise = torch.randn(values.shape, generator=generator)
                values.mul_(1 + 0.3 * noise.abs()) if "var" in name else values.add_(0.2 * noise)
    return network.eval()


def convolution(channels=8):
    return nn.Conv2d(3, channels, 4, 4)


def mean(maps):
    return maps.mean(dim=(-2, -1))


def mean_as_a_map(maps):
    return maps.mean(dim=(-2, -1), keepdim=True)


HELD = {
    "a mean": (convolution(), mean),
    "a norm behind the mean": (convolution(), mean, nn.LayerNorm(8)),
    "a norm of maps of one cell": (convolution(), mean_as_a_map, NormOfMaps(8), nn.Flatten()),
    "a norm before the mean": (nn.Sequential(convolution(), NormOfMaps(8)), mean),
    "batch normalization": (convolution(), mean_as_a_map, nn.BatchNorm2d(8), nn.Flatten()),
    "a convolution of one cell": (convolution(), mean_as_a_map, nn.Conv2d(8, 6, 1), nn.Hardswish(), nn.Flatten()),
    "two layers": (convolution(), mean, nn.Linear(8, 12), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(12)),
    "channels last": (
        nn.Sequential(convolution(), Permute([0, 2, 3, 1]), nn.LayerNorm(8)),
        lambda maps: maps.mean((1, 2)),
    ),
    "tokens": (
        nn.Sequential(convolution(), nn.Flatten(2), Permute([0, 2, 1]), nn.LayerNorm(8)),
        lambda found: found.mean(1),
    ),
}
REFUSED = {
    "the largest": (convolution(), lambda maps: maps.amax(dim=(-2, -1))),
    "a norm without a module": (convolution(), lambda maps: F.layer_norm(mean(maps), (8,))),
    "a factor without a module": (convolution(), lambda maps: 1.001 * mean(maps)),
    "a norm in another place": (nn.Sequential(convolution(), NormOfMaps(8)), lambda maps: mean(maps**2)),
    "an unknown layer": (convolution(), mean, nn.Softsign()),
}


AXES = {"channels last": (1, 2), "tokens": (1,)}


def embedded(network, reading, images, axes):
    """Return the embedding of a reading, by a hook, a mean over axes and a head."""
    kept = []
    hook = network.get_submodule(reading.layer).register_forward_hook(lambda *given: kept.append(given[2]))
    with torch.no_grad():
        network(images)
        hook.remove()
        pooled = kept[0].mean(dim=axes)
        return pooled if reading.head is None else reading.head.eval()(pooled)


@pytest.mark.parametrize("what", HELD)
def test_a_reading_that_holds_gives_the_networks_output_on_any_image(what):
    network = Network(*HELD[what])
    reading, found = own_reading(network, probe_image(32, network), classifies=False)
    assert found.holds
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(
            embedded(network, reading, images, AXES.get(what, (2, 3))), network(images).flatten(1)
        )


def test_a_network_that_flattens_its_maps_is_read_by_all_cells():
    network = Network(convolution(), nn.Flatten(), nn.Linear(8 * 64, 8))
    reading, found = own_reading(network, probe_image(32, network), classifies=False)
    assert found.holds
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    kept = []
    network.get_submodule(reading.layer).register_forward_hook(lambda *given: kept.append(given[2]))
    with torch.no_grad():
        own = network(images).flatten(1)
        torch.testing.assert_close(reading.head.eval()(kept[0].flatten(1)), own)


@pytest.mark.parametrize("what", REFUSED)
def test_a_network_that_goes_on_to_something_else_is_seen(what):
    network = Network(*REFUSED[what])
    reading, found = own_reading(network, probe_image(32, network), classifies=False)
    assert not found.holds
    assert reading.layer is not None


@pytest.mark.parametrize("what", [what for what, parts in HELD.items() if len(parts) > 2])
def test_a_reading_without_its_head_does_not_hold(what):
    network = Network(*HELD[what])
    reading, _ = own_reading(network, probe_image(32, network), classifies=False)
    assert not agreement(network, replace(reading, head=None), probe_image(32, network)).holds


def test_of_a_classifier_the_feature_is_what_its_last_linear_layer_reads():
    network = Network(convolution(), mean, nn.LayerNorm(8), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 9))
    reading, found = own_reading(network, probe_image(32, network), classifies=True)
    assert found.holds
    assert (reading.classifier, found.feature) == ("behind.3", (1, 5))
    as_output, found = own_reading(network, probe_image(32, network), classifies=False)
    assert (as_output.classifier, found.feature) == (None, (1, 9))


def test_the_head_has_the_networks_own_parameters_and_statistics():
    network = Network(*HELD["batch normalization"])
    reading, _ = own_reading(network, probe_image(32, network), classifies=False)
    with torch.no_grad():
        network.behind[0].weight.mul_(2)
        network.behind[0].running_mean.add_(1)
    assert agreement(network, reading, probe_image(32, network)).holds


def test_the_network_is_given_back_as_it_was():
    network = Network(*HELD["two layers"]).train()
    own_reading(network, probe_image(32, network), classifies=False)
    assert network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 1, bias=False), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 6, 1, groups=2)]
)
def test_a_convolution_of_one_cell_is_a_linear_layer_of_vectors(layer):
    found = vector_layers(layer)
    if layer.kernel_size != (1, 1) or layer.groups != 1:
        assert found is None
        return
    values = torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(found[0](values), layer(values[..., None, None]).flatten(1))
    frozen = linearize(found[0], values)
    pushed = frozen.push_forward(values[:, None])[:, 0] + frozen.offset
    torch.testing.assert_close(pushed, found[0](values).detach())
    assert isinstance(found[0], PointwiseLinear)


def test_a_head_says_which_layer_it_does_not_know():
    strange = nn.Softsign()
    assert vector_head([nn.Linear(2, 2), strange, nn.ReLU()]) == (None, strange)
    assert vector_head([nn.Flatten(), nn.Identity()]) == (None, None)


def test_the_head_that_was_found_has_receipts():
    network = Network(*HELD["a convolution of one cell"])
    reading, _ = own_reading(network, probe_image(32, network), classifies=False)
    encoder = Encoder.wrap(network, reading.layer, head=reading.head)
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = explain(encoder, images[0], {"a": images[1:3], "b": images[3:]})
    assert found.residual <= 1e-5 * found.absolute_sum
