"""The papers' encoders beside a second writing of each, and residual networks beside torchvision's."""

from functools import partial

import pytest
import torch
from named_encoders import assert_close_in_scale, lively, random_images, small_encoder
from references import papers_encoders as written
from torchvision import models

from fsl_explain import Encoder, saliency

WRITTEN = {
    "conv4net": partial(written.conv4net, slope=0.1),
    "conv64f": partial(written.conv64f, slope=0.1),
    "resnet12": partial(written.resnet12, slope=0.1),
    "can-resnet12": partial(written.can_resnet12, slope=0.0),
    "wrn-28-10": partial(written.wide_resnet, slope=0.1, blocks=2),
    "bn-inception": written.bn_inception,
}


@pytest.mark.parametrize("side", [33, 64])
@pytest.mark.parametrize("name", WRITTEN)
def test_maps_are_those_of_a_second_writing(name, side):
    encoder, batch = small_encoder(name), random_images(2, side=side)
    expected = WRITTEN[name](encoder.network.state_dict(), batch)
    assert_close_in_scale(encoder(batch).maps, expected)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("padding", [0, 1])
def test_the_padding_of_conv64f_is_that_of_its_first_blocks(padding):
    encoder, batch = small_encoder("conv64f", padding=padding, negative_slope=0.0), random_images(1)
    expected = written.conv64f(encoder.network.state_dict(), batch, 0.0, padding)
    assert_close_in_scale(encoder(batch).maps, expected)


@pytest.mark.parametrize(
    ("name", "options", "whole"),
    [
        ("resnet18", {"negative_slope": 0.0}, models.resnet18),
        ("npid-resnet18", {}, models.resnet18),
        ("supervised-resnet50", {}, models.resnet50),
    ],
)
def test_residual_networks_are_those_of_torchvision(name, options, whole):
    reference = lively(whole(weights=None)).eval()
    encoder = Encoder.named(name, **options)
    encoder.network.load_state_dict(reference.state_dict(), strict=name.startswith("supervised"))
    batch = random_images(2, side=96)
    maps = encoder(batch).maps
    with torch.no_grad():
        assert_close_in_scale(reference.fc(maps.mean(dim=(-2, -1))), reference(batch))
    assert_close_in_scale(maps, Encoder.wrap(reference, "layer4")(batch).maps)


def test_leaky_residual_networks_are_those_with_every_rectifier_exchanged():
    reference = lively(models.resnet18(weights=None))
    for parent in list(reference.modules()):
        if hasattr(parent, "relu"):
            parent.relu = torch.nn.LeakyReLU(0.1)
    encoder = Encoder.named("resnet18")
    encoder.network.load_state_dict(reference.state_dict(), strict=False)
    batch = random_images(2, side=64)
    assert_close_in_scale(encoder(batch).maps, Encoder.wrap(reference, "layer4")(batch).maps)


def test_a_class_logit_of_the_supervised_network_is_explained_as_that_of_torchvision():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = lively(models.resnet50(weights=None))
    encoder, batch = Encoder.named("supervised-resnet50"), random_images(2, side=64)
    encoder.network.load_state_dict(reference.state_dict())
    wrapped = Encoder.wrap(reference, "layer4")
    expected = {target: saliency(wrapped, batch, method="grad-cam", target=target) for target in range(8)}
    target = max(expected, key=lambda label: float(expected[label].sum()))  # random weights speak against most classes
    torch.testing.assert_close(
        saliency(encoder, batch, method="grad-cam", target=target), expected[target], rtol=1e-4, atol=1e-4
    )
    assert expected[target].max() == 1
