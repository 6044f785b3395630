import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoder import CHANNELS, images, random_head, tiny_encoder, tiny_network
from torch import nn

from fsl_explain import Encoder, Features
from fsl_explain.config import EncoderConfig
from fsl_explain.explainers.methods.class_logit import class_logit_map
from fsl_explain.heads import LogSumExpPooling


def test_maps_are_pooled_and_embedded():
    encoder = tiny_encoder(random_head("linear"))
    features = encoder(images(2))
    assert features.maps.shape == (2, CHANNELS, 3, 4)
    torch.testing.assert_close(features.pooled, features.maps.mean(dim=(-2, -1)))
    with torch.no_grad():
        torch.testing.assert_close(features.embedding, encoder.head(features.pooled))
        network = encoder.network.eval()
        expected = network.activation(network.norm(network.conv(images(2))))
    torch.testing.assert_close(features.maps, expected)


def test_a_layer_may_be_given_by_name_or_as_the_module():
    network = tiny_network()
    batch = images(2, dtype=torch.float32)
    by_name, by_module = Encoder.wrap(network, "norm"), Encoder.wrap(network, network.norm)
    assert torch.equal(by_name(batch).maps, by_module(batch).maps)
    assert not torch.equal(by_name(batch).maps, Encoder.wrap(network, "activation")(batch).maps)


def test_a_layer_inside_a_layer_has_a_dotted_name():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 2), nn.ReLU()), nn.Conv2d(2, 2, 1))
    assert Encoder.wrap(network, "0.1")(images(1, dtype=torch.float32)).maps.min() >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_images_follow_the_dtype_of_the_network(dtype):
    features = tiny_encoder(dtype=dtype)(images(2, dtype=torch.float32))
    assert features.maps.dtype == features.pooled.dtype == features.embedding.dtype == dtype


def test_a_pooling_of_your_own_settings_may_be_given():
    maps = tiny_encoder()(images(2)).maps
    pooled = tiny_encoder(pooling=LogSumExpPooling(r=1000.0))(images(2)).pooled
    torch.testing.assert_close(pooled, maps.amax(dim=(-2, -1)), rtol=0, atol=1e-2)


def test_a_head_that_overwrites_its_input_leaves_the_pooled_values_alone():
    encoder = tiny_encoder(nn.Sequential(nn.ReLU(inplace=True)))
    features = encoder(images(2))
    assert (features.pooled < 0).any()
    torch.testing.assert_close(features.embedding, features.pooled.clamp(min=0))


def test_what_comes_behind_the_layer_does_not_change_its_maps():
    """A rectification in place would otherwise overwrite them."""
    network = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU(inplace=True))
    maps = Encoder.wrap(network, "0")(images(2, dtype=torch.float32)).maps
    assert maps.min() < 0
    torch.testing.assert_close(maps.relu(), Encoder.wrap(network, "1")(images(2, dtype=torch.float32)).maps)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            "activatoin",
            r"unknown layer of TinyNetwork 'activatoin'; did you mean 'activation'\? Known: conv, norm, activ",
        ),
        ("", r"unknown layer of TinyNetwork ''"),
        (nn.ReLU(), r"expected a layer of the wrapped TinyNetwork, but got a ReLU that is no part of it; pass one of"),
    ],
    ids=["misspelled", "empty", "foreign module"],
)
def test_an_unknown_layer_is_answered_with_near_ones(layer, sentence):
    with pytest.raises(LookupError, match=sentence):
        Encoder.wrap(tiny_network(), layer)


class Reusing(nn.Module):
    """Runs one layer twice, another never, and one that returns a pair."""

    def __init__(self):
        super().__init__()
        self.conv, self.twice, self.never, self.pair = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.ReLU(), nn.Module()
        self.pair.forward = lambda values: (values, values)

    def forward(self, batch):
        return self.pair(self.twice(self.conv(self.twice(batch))))[0].mean(dim=(-2, -1))


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("twice", r"expected the layer ReLU to run once in a forward pass, but it ran 2 times; choose a layer"),
        ("never", r"expected the layer ReLU to run once in a forward pass, but it ran 0 times"),
        ("pair", r"expected activation maps of shape \(2, channel, h, w\) from the layer Module, but got tuple"),
    ],
)
def test_a_layer_that_gives_no_one_map_is_refused(layer, sentence):
    encoder = Encoder.wrap(Reusing(), layer)
    with pytest.raises(ValueError, match=sentence):
        encoder(images(2, dtype=torch.float32))


def test_a_layer_behind_the_pooling_is_refused():
    encoder = Encoder.wrap(tiny_network(), "classifier")
    with pytest.raises(
        ValueError, match=r"from the layer Linear, but got shape \(2, 3\); choose a convolutional layer"
    ):
        encoder(images(2, dtype=torch.float32))


def compiled_whole(network):
    return torch.compile(network, backend="eager")


def compiled_in_place(network):
    network.compile(backend="eager")
    return network


def compiled_inside(network):
    return nn.Sequential(torch.compile(network, backend="eager"))


def in_parallel(network):
    return nn.DataParallel(network)


@pytest.mark.parametrize("made", [compiled_whole, compiled_in_place, compiled_inside, in_parallel])
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_network_that_is_compiled_or_in_parallel_gives_the_same_maps(made, ran_before):
    network, batch = tiny_network().eval(), images(2, dtype=torch.float32)
    plain = Encoder.wrap(network, "activation")
    expected, logits = plain(batch).maps, class_logit_map(plain, batch).cells
    other = made(network)
    if ran_before:
        with torch.no_grad():
            other(batch)
    encoder = Encoder.wrap(other, network.activation)
    assert torch.equal(encoder(batch).maps, expected)
    assert torch.equal(class_logit_map(encoder, batch).cells, logits)


def test_features_are_indexed_and_unflattened_alike():
    features = tiny_encoder(random_head("linear"))(images(6))
    grouped = features.unflatten(2, 3)
    assert isinstance(grouped, Features)
    assert grouped.maps.shape == (2, 3, CHANNELS, 3, 4)
    assert torch.equal(grouped[1, 2].maps, features[5].maps)
    assert torch.equal(grouped[1, 2].embedding, features[5].embedding)
    assert torch.equal(grouped[0].pooled, features[:3].pooled)


def picture(mode="RGB", size=(10, 7)):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_every_mode_become_one_batch(mode):
    encoder = Encoder.named("conv4net", channels=2)
    batch = encoder.preprocess([picture(mode), picture("RGB", (30, 20))])
    assert batch.shape == (2, 3, 84, 84)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch[:1], encoder.preprocess([picture(mode).convert("RGB")]))


def test_a_preprocessing_of_your_own_is_used_and_hides_its_normalization():
    encoder = tiny_encoder(preprocess=lambda image: torch.full((3, 2, 2), float(image.width)))
    assert torch.equal(encoder.preprocess([picture()]), torch.full((1, 3, 2, 2), 10.0))
    assert encoder.normalization is None
    assert not encoder.carries_boxes


def test_without_one_images_are_normalized_as_for_imagenet():
    encoder = tiny_encoder()
    assert encoder.preprocess([picture()]).shape == (1, 3, 224, 224)
    assert encoder.normalization == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert encoder.carries_boxes


def test_a_single_picture_is_not_a_list():
    preprocess = inspect.unwrap(Encoder.preprocess)  # the checks of its annotations are the tests' alone
    with pytest.raises(TypeError, match=r"expected a list of PIL images, but got a single one; pass \[image\]"):
        preprocess(tiny_encoder(), picture())


def test_a_configuration_describes_an_encoder():
    config = EncoderConfig(name="conv4net", pooling="gmp", architecture={"channels": 2, "seed": 3})
    built = Encoder.from_config(config)
    named = Encoder.named("conv4net", pooling="gmp", channels=2, seed=3)
    batch = torch.randn(1, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    assert torch.equal(built(batch).embedding, named(batch).embedding)
    with pytest.raises(ValueError, match=r"expected a device this machine has, but got 'martian'; use cpu"):
        Encoder.from_config(config, device="martian")
