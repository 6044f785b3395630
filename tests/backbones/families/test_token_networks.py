"""Networks of tokens by name are read out as they read themselves, and what is asked for is checked at once."""

import pytest
import torch

from fsl_explain import Encoder, explain
from fsl_explain.config import EncoderConfig, HeadConfig

timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")
NAMES = {
    "timm:vit_tiny_patch16_224": "class",
    "timm:deit_tiny_distilled_patch16_224": "class",
    "timm:resnet50_clip": "attention-pool",
    "torchvision:vit_b_32": "class",
}


def images_for(encoder, count=3):
    side = encoder.image_size
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_the_readout_is_the_networks_own_and_has_a_receipt(name):
    encoder = Encoder.named(name)
    assert encoder.tokens.readout == NAMES[name]
    images = images_for(encoder)
    if name.startswith("timm"):
        with torch.no_grad():
            torch.testing.assert_close(encoder(images).embedding, encoder.network.eval()(images), rtol=1e-4, atol=1e-5)
    found = explain(encoder, images[0], {"a": images[1:2], "b": images[2:]})
    assert found.residual <= 1e-5 * found.absolute_sum


def test_a_readout_may_be_asked_for_by_name_and_in_settings():
    config = EncoderConfig(name="timm:vit_tiny_patch16_224", readout="mean")
    encoder = Encoder.from_config(config)
    images = images_for(encoder, 1)
    with torch.no_grad():
        tokens = encoder.network.eval().forward_features(images)
    torch.testing.assert_close(encoder(images).embedding, tokens[:, 1:].mean(dim=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"expected a token network for readout='class', but of timm:tinynet_e"):
        Encoder.named("timm:tinynet_e", readout="class")


def test_a_layer_that_is_named_is_read_as_it_is():
    encoder = Encoder.named("timm:vit_tiny_patch16_224", layer="patch_embed.proj", tail="ignore")
    assert encoder.tokens is None
    assert encoder(images_for(encoder, 1)).maps.shape == (1, 192, 14, 14)


def test_a_checkpoint_brings_the_tokens_and_leaves_the_classifier_out(tmp_path):
    donor = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    encoder = Encoder.named(
        "timm:vit_tiny_patch16_224",
        checkpoint=tmp_path / "weights.pt",
        head=HeadConfig(kind="linear", width=5, fresh=True),
    )
    state = donor.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in encoder.network.state_dict().items())
    assert encoder(images_for(encoder, 1)).embedding.shape == (1, 5)
    assert encoder.random == ("head",)


def test_positions_are_interpolated_to_the_images_and_said(tmp_path):
    donor = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    encoder = Encoder.named("timm:vit_tiny_patch16_224", checkpoint=tmp_path / "weights.pt", size=96)
    assert encoder.description.endswith(", pos_embed interpolated)")
    assert encoder(images_for(encoder, 1)).maps.shape == (1, 192, 6, 6)
