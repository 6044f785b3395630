"""Heads as part of a named encoder: by its name, by a description, and out of a checkpoint."""

import re

import pytest
import torch
from named_encoders import SIDE, random_images, small_encoder
from safetensors.torch import save_file
from torch import nn

from fsl_explain import Encoder
from fsl_explain.backbones.named import build_named
from fsl_explain.config import EncoderConfig, EvaluationConfig, HeadConfig, read_config
from fsl_explain.heads import GlobalMaxPooling, L2Normalize, projection_head

SMALL = {"channels": 3, "size": SIDE}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("npid-resnet18", {"0.weight": (128, 512), "0.bias": (128,)}),
        ("npid-resnet50", {"0.weight": (128, 2048), "0.bias": (128,)}),
        ("moco-resnet50", {"0.weight": (128, 2048), "0.bias": (128,)}),
        (
            "moco-v2-resnet50",
            {"0.weight": (2048, 2048), "0.bias": (2048,), "2.weight": (128, 2048), "2.bias": (128,)},
        ),
        ("bn-inception", {"0.weight": (512, 1024), "0.bias": (512,)}),
        ("conv4net", {}),
        ("swav-resnet50", {}),
        ("torchvision:resnet18", {}),
    ],
)
def test_each_name_has_the_head_of_its_paper(name, shapes):
    with torch.device("meta"):
        head = build_named(name, None, size=SIDE).head or nn.Sequential()
    assert {key: tuple(value.shape) for key, value in head.state_dict().items()} == shapes
    kinds = [type(layer) for layer in head]
    expected = {0: [], 2: [nn.Linear, L2Normalize], 4: [nn.Linear, nn.ReLU, nn.Linear, L2Normalize]}
    assert kinds == expected[len(shapes)]


def test_embeddings_of_a_normalizing_head_have_norm_1():
    features = small_encoder("npid-resnet18")(random_images(3))
    assert features.embedding.shape == (3, 128)
    torch.testing.assert_close(features.embedding.norm(dim=-1), torch.ones(3))


def test_bn_inception_takes_maxima_and_the_others_means():
    inception, other = small_encoder("bn-inception"), small_encoder("conv4net")
    features = inception(random_images(2, side=96))
    assert features.maps.shape[-1] > 1
    torch.testing.assert_close(features.pooled, features.maps.amax(dim=(-2, -1)))
    assert type(inception.pooling) is GlobalMaxPooling
    assert Encoder.named("bn-inception", pooling="gap", size=SIDE).pooling == other.pooling
    assert (
        Encoder.from_config(EncoderConfig(name="bn-inception", architecture={"size": SIDE})).pooling
        == inception.pooling
    )


def test_another_head_may_be_given():
    mine = nn.Linear(512, 7)
    assert Encoder.named("npid-resnet18", size=SIDE, head=mine).head is mine
    for none in (HeadConfig(kind="none"), nn.Identity()):
        features = Encoder.named("npid-resnet18", size=SIDE, head=none)(random_images(1))
        assert torch.equal(features.embedding, features.pooled)


@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (HeadConfig(kind="linear", width=5), [3, 5]),
        (HeadConfig(kind="linear", width=5, normalize=True), [3, 5]),
        (HeadConfig(kind="mlp", width=5, normalize=True), [3, 3, 5]),
        (HeadConfig(kind="mlp", width=5, hidden=4), [3, 4, 5]),
    ],
)
def test_a_head_is_described_by_its_kind_and_width(config, widths):
    encoder = Encoder.from_config(EncoderConfig(head=config, architecture=SMALL))
    linear = [layer for layer in encoder.head if isinstance(layer, nn.Linear)]
    assert [linear[0].in_features, *(layer.out_features for layer in linear)] == widths
    assert isinstance(encoder.head[-1], L2Normalize) == config.normalize
    features = encoder(random_images(2))
    values = features.pooled
    for number, layer in enumerate(linear):
        values = values @ layer.weight.T + layer.bias
        values = values.clamp(min=0) if number < len(linear) - 1 else values
    expected = values / values.norm(dim=-1, keepdim=True) if config.normalize else values
    torch.testing.assert_close(features.embedding, expected.detach())


def test_a_head_may_stand_behind_a_network_of_torchvision():
    encoder = Encoder.named("torchvision:resnet18", size=SIDE, head=HeadConfig(kind="linear", width=6))
    assert encoder(random_images(1)).embedding.shape == (1, 6)


def test_a_head_changes_no_weight_of_its_network():
    plain, headed = (Encoder.named("conv4net", **SMALL, head=head) for head in (None, LINEAR))
    assert torch.equal(plain.network.blocks.block4.conv.weight, headed.network.blocks.block4.conv.weight)
    assert not hasattr(headed.network, "head")


LINEAR = HeadConfig(kind="linear", width=5, normalize=True)


@pytest.fixture
def stored(tmp_path):
    """A checkpoint of conv4net and its head, of weights that no seed of the tests draws."""
    built = build_named("conv4net", None, seed=99, head=LINEAR, **SMALL)
    state = dict(built.network.state_dict()) | {f"head.{key}": v for key, v in built.head.state_dict().items()}
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "whole.safetensors")
    trunk = {key: value.contiguous() for key, value in built.network.state_dict().items()}
    save_file(trunk, tmp_path / "trunk.safetensors")
    return Encoder(built.network, head=built.head)


def test_a_checkpoint_holds_the_head_beside_the_network(stored, tmp_path):
    encoder = Encoder.named("conv4net", checkpoint=tmp_path / "whole.safetensors", head=LINEAR, **SMALL)
    assert torch.equal(encoder(random_images(2)).embedding, stored(random_images(2)).embedding)
    assert not hasattr(encoder.network, "head")
    trunk = Encoder.named("conv4net", checkpoint=tmp_path / "whole.safetensors", head=HeadConfig(kind="none"), **SMALL)
    assert torch.equal(trunk(random_images(2)).embedding, stored(random_images(2)).pooled)


def test_a_checkpoint_without_the_head_is_refused_unless_a_fresh_one_is_asked_for(stored, tmp_path):
    with pytest.raises(ValueError, match=r"does not fit Conv4Net: 2 missing \(head.0.weight, head.0.bias\)"):
        Encoder.named("conv4net", checkpoint=tmp_path / "trunk.safetensors", head=LINEAR, **SMALL)
    fresh = LINEAR.model_copy(update={"fresh": True})
    for file in ("trunk.safetensors", "whole.safetensors"):
        encoder = Encoder.named("conv4net", checkpoint=tmp_path / file, head=fresh, **SMALL)
        features = encoder(random_images(2))
        assert torch.equal(features.pooled, stored(random_images(2)).pooled)
        assert not torch.equal(encoder.head[0].weight, stored.head[0].weight)


def test_the_own_head_may_be_fresh_too(tmp_path):
    trunk = Encoder.named("npid-resnet18", size=SIDE, seed=1).network.state_dict()
    save_file({key: value.contiguous() for key, value in trunk.items()}, tmp_path / "trunk.safetensors")
    encoder = Encoder.named(
        "npid-resnet18", checkpoint=tmp_path / "trunk.safetensors", head=HeadConfig(fresh=True), size=SIDE
    )
    assert encoder.head[0].out_features == 128
    assert torch.equal(encoder.network.conv1.weight, trunk["conv1.weight"])
    with pytest.raises(ValueError, match=r"does not fit ResNetTrunk: 2 missing \(head.0.weight"):
        Encoder.named("npid-resnet18", checkpoint=tmp_path / "trunk.safetensors", size=SIDE)


def test_a_head_goes_where_its_network_goes():
    encoder = Encoder.from_config(EncoderConfig(head=LINEAR, architecture=SMALL), device="meta")
    assert encoder.head[0].weight.device == encoder.network.blocks.block1.conv.weight.device == torch.device("meta")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "linaer"}, r"'own', 'none', 'linear' or 'mlp'"),
        ({"kind": "linear"}, r"a head of kind 'linear' needs its width; give width = 128, for example"),
        ({"width": 5}, r"width and normalize are of the kinds linear and mlp, but kind is 'own'"),
        ({"kind": "none", "normalize": True}, r"width and normalize are of the kinds .* but kind is 'none'"),
        ({"kind": "linear", "width": 5, "hidden": 4}, r"hidden is of the kind mlp alone, but kind is 'linear'"),
        ({"kind": "none", "fresh": True}, r"there is no head to draw fresh weights for, because kind is 'none'"),
        ({"kind": "mlp", "width": 0}, r"greater than or equal to 1"),
        ({"widht": 5}, r"unknown key 'widht'; did you mean 'width'"),
    ],
)
def test_a_head_that_cannot_be_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        EncoderConfig.model_validate({"head": settings})


def test_a_head_is_a_section_of_a_configuration_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[data]\nkind = "digit-scenes"\n[encoder.head]\nkind = "mlp"\nwidth = 8\nnormalize = true\n')
    assert read_config(file, EvaluationConfig).encoder.head == HeadConfig(kind="mlp", width=8, normalize=True)
    file.write_text('[data]\nkind = "digit-scenes"\n[encoder.head]\nkind = "mlp"\n')
    with pytest.raises(ValueError, match=r"run.toml: \[encoder.head\] a head of kind 'mlp' needs its width"):
        read_config(file, EvaluationConfig)


@pytest.mark.parametrize("widths", [[3], [3, 0], [-1, 2]], ids=str)
def test_a_head_has_a_width_on_either_side(widths):
    sentence = f"expected the channels of the maps and of the embedding, 1 or more, but got {re.escape(str(widths))}"
    with pytest.raises(ValueError, match=sentence):
        projection_head(widths, normalize=False)
