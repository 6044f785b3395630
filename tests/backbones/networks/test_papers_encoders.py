"""The papers' encoders: the shapes of their maps, their sizes, their names and their options.

Parameter counts of the published networks: ResNet18 and ResNet50 are torchvision's 11,689,512 and 25,557,032 with
their classifiers of 1,000 classes; WRN-28-10 is that of "Wide Residual Networks" for CIFAR-10, 36.5 million, exactly
36,479,194 with its classifier of 10 classes; BN-Inception is Cadene's, 11,295,240 with its classifier of 1,000
classes; ResNet12 is MetaOptNet's, 12.4 million.
"""

import pytest
import torch
from named_encoders import DIFFERENT, SMALL, lively, random_images, small_encoder
from torch import nn
from torchvision import models
from torchvision.ops import DropBlock2d

from fsl_explain import Encoder
from fsl_explain.registries import ENCODERS

FEW_SHOT = ("conv4net", "conv64f", "resnet12", "resnet18", "wrn-28-10")


def without_values(name, **options):
    with torch.device("meta"):
        return ENCODERS[name].build(**options)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "options", "side", "shape", "parameters"),
    [
        ("conv4net", {}, 84, (64, 5, 5), 113_088),
        ("conv64f", {}, 84, (64, 19, 19), 113_088),
        ("conv64f", {"padding": 1}, 84, (64, 21, 21), 113_088),
        ("resnet12", {}, 84, (640, 5, 5), 12_424_320),
        ("can-resnet12", {}, 84, (512, 6, 6), 8_037_696),
        ("resnet18", {}, 84, (512, 3, 3), 11_689_512 - 512 * 1000 - 1000),
        ("resnet18", {"stem": "3x3"}, 84, (512, 11, 11), 11_689_512 - 512 * 1000 - 1000 - 64 * 3 * (49 - 9)),
        ("wrn-28-10", {}, 84, (640, 21, 21), 36_479_194 - 640 * 10 - 10),
        ("bn-inception", {}, 227, (1024, 7, 7), 11_295_240 - 1024 * 1000 - 1000),
        ("npid-resnet18", {}, 224, (512, 7, 7), 11_689_512 - 512 * 1000 - 1000),
        ("npid-resnet50", {}, 224, (2048, 7, 7), 25_557_032 - 2048 * 1000 - 1000),
        ("moco-resnet50", {}, 224, (2048, 7, 7), 25_557_032 - 2048 * 1000 - 1000),
        ("moco-v2-resnet50", {}, 224, (2048, 7, 7), 25_557_032 - 2048 * 1000 - 1000),
        ("simclr-resnet50", {}, 224, (2048, 7, 7), 25_557_032 - 2048 * 1000 - 1000),
        ("swav-resnet50", {}, 224, (2048, 7, 7), 25_557_032 - 2048 * 1000 - 1000),
        ("supervised-resnet50", {}, 224, (2048, 7, 7), 25_557_032),
    ],
)
def test_maps_and_parameters_are_those_of_the_papers(name, options, side, shape, parameters):
    """Shapes alone are followed, on the device that keeps no values."""
    network = without_values(name, **options)
    assert ENCODERS[name].preprocessing.size == side
    assert network(torch.empty(1, 3, side, side, device="meta")).shape == (1, *shape)
    assert count(network) == parameters


def test_maps_are_as_large_with_values():
    assert Encoder.named("resnet12")(random_images(1, side=84)).maps.shape == (1, 640, 5, 5)
    assert Encoder.named("bn-inception")(random_images(1, side=227)).maps.shape == (1, 1024, 7, 7)


@pytest.mark.parametrize("name", FEW_SHOT)
def test_few_shot_networks_are_leaky_unless_told_otherwise(name):
    def slopes(network):
        rectifiers = [module for module in network.modules() if isinstance(module, nn.ReLU | nn.LeakyReLU)]
        return {getattr(module, "negative_slope", 0.0) for module in rectifiers}

    assert slopes(small_encoder(name).network) == {0.1}
    straight = small_encoder(name, negative_slope=0.0)
    assert slopes(straight.network) == {0.0}
    assert straight(random_images(1)).maps.min() >= 0


@pytest.mark.parametrize("name", ["npid-resnet18", "moco-v2-resnet50", "bn-inception", "supervised-resnet50"])
def test_the_others_rectify(name):
    assert small_encoder(name)(random_images(1)).maps.min() == 0


def kinds_of(name):
    """The leaves of the names, by the layer they belong to."""
    state = without_values(name, **SMALL[name]).state_dict()
    return {key.rsplit(".", 1)[0] for key in state}


def test_parameters_have_their_published_names():
    assert kinds_of("conv64f") == {f"layer{i}.{part}" for i in range(1, 5) for part in (0, 1)}
    parts = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")
    assert kinds_of("resnet12") == {f"layer{i}.0.{part}" for i in range(1, 5) for part in parts}
    wide = {"block2.layer.0.convShortcut", "block2.layer.0.bn1", "block2.layer.1.conv2", "block3.layer.1.bn2", "bn1"}
    assert wide | {"conv1", "block1.layer.0.convShortcut"} <= kinds_of("wrn-28-10")
    assert "block2.layer.1.convShortcut" not in kinds_of("wrn-28-10")
    inception = kinds_of("bn-inception")
    assert len(inception) == 138
    assert {"conv1_7x7_s2", "conv2_3x3_reduce_bn", "inception_3a_1x1", "inception_3a_pool_proj_bn"} <= inception
    assert {"inception_3c_double_3x3_2_bn", "inception_5b_double_3x3_reduce"} <= inception
    assert not {"inception_3c_1x1", "inception_4e_pool_proj"} & inception


@pytest.mark.parametrize(("name", "whole"), [("resnet18", models.resnet18), ("swav-resnet50", models.resnet50)])
def test_residual_networks_have_the_names_of_torchvision(name, whole):
    with torch.device("meta"):
        expected = [key for key in whole(weights=None).state_dict() if not key.startswith("fc.")]
    assert list(without_values(name).state_dict()) == expected


def test_the_classifier_of_a_supervised_network_is_called_fc():
    with torch.device("meta"):
        expected = list(models.resnet50().state_dict())
    assert list(without_values("supervised-resnet50").state_dict()) == expected


@pytest.mark.parametrize("name", DIFFERENT)
def test_random_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    first = Encoder.named(name, seed=5, size=32, **SMALL[name])
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = (Encoder.named(name, seed=seed, size=32, **SMALL[name]) for seed in (5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    for part in ("network", "head"):
        mine, same, another = (getattr(encoder, part).state_dict() for encoder in (first, again, other))
        assert all(torch.equal(value, same[key]) for key, value in mine.items())
        weights = [key for key, value in mine.items() if value.dim() > 1]
        assert not any(torch.equal(mine[key], another[key]) for key in weights)


@pytest.mark.parametrize("name", [*DIFFERENT, "supervised-resnet50"])
def test_training_reaches_every_parameter(name):
    encoder = small_encoder(name)
    encoder.network.train()
    embedding = encoder.head(encoder.pooling(encoder.network(random_images(4))))
    logits = encoder.network.class_logits(encoder.network(random_images(4))).sum() if "supervised" in name else 0
    ((embedding * random_images(4).flatten()[: embedding.numel()].view_as(embedding)).sum() + logits).backward()
    parts = [*encoder.network.named_parameters(), *encoder.head.named_parameters()]
    assert not [key for key, parameter in parts if parameter.grad is None or not parameter.grad.isfinite().all()]
    reached = [key for key, parameter in parts if parameter.grad.abs().max() > 0]
    assert len(reached) == len(parts)


def test_resnet12_drops_blocks_in_training_alone():
    plain, dropping = (small_encoder("resnet12", drop_rate=rate, size=84).network for rate in (0.0, 0.3))
    batch = random_images(2, side=84)
    assert torch.equal(plain.eval()(batch), dropping.eval()(batch))
    assert [type(layer[0].drop) for layer in dropping.children()] == [nn.Dropout, nn.Dropout, DropBlock2d, DropBlock2d]
    torch.manual_seed(0)
    before = torch.equal(dropping.train()(batch), dropping.train()(batch))
    assert not before
    assert torch.equal(plain.train()(batch), plain.train()(batch))


def test_a_wide_network_drops_in_training_alone():
    network = small_encoder("wrn-28-10", drop_rate=0.5).network
    batch = random_images(2)
    assert torch.equal(network.eval()(batch), network(batch))
    assert not torch.equal(network.train()(batch), network(batch))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet18", {"stem": "5x5"}, r"expected a stem of 7x7 or 3x3, but got '5x5'; choose one of them"),
        ("wrn-28-10", {"depth": 20}, r"expected a depth of 6n \+ 4, such as 16 or 28, but got 20; choose one"),
        ("resnet12", {"widths": [4, 5]}, r"expected 4 widths, one for each block, but got \[4, 5\]; give four"),
        ("conv64f", {"size": 0}, r"expected images of at least 1 pixel, but got size 0; give the side"),
        ("conv64f", {"mean": [0.5]}, r"mean and a positive .* each of three channels, but got \[0.5\] and \[0.229"),
        ("conv64f", {"std": [0.5, 0.0, 1.0]}, r"but got .* and \[0.5, 0.0, 1.0\]; give three numbers each"),
    ],
)
def test_an_option_that_cannot_be_is_refused(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Encoder.named(name, **options)


def test_an_image_whose_maps_bn_inception_cannot_halve_is_refused():
    with pytest.raises(ValueError, match=r"convolution of \(2, 2\) cells beside a pooling of \(1, 1\); use 227"):
        small_encoder("bn-inception")(random_images(1, side=48))


def test_an_unknown_option_is_answered_with_near_ones():
    with pytest.raises(LookupError, match=r"unknown option of npid-resnet18 'steem'; did you mean 'stem'"):
        Encoder.named("npid-resnet18", steem="3x3")
    with pytest.raises(LookupError, match=r"unknown option of torchvision:resnet18 'lair'; did you mean 'layer'"):
        Encoder.named("torchvision:resnet18", lair="layer2")


def test_every_named_network_is_looked_at_here():
    assert set(SMALL) | {"efficientnet-lite0", "demo-vit"} == set(ENCODERS)
    assert lively(nn.BatchNorm2d(3)).running_mean.abs().min() > 0
