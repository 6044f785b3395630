"""What an encoder is made of, called with or moved to: anything else is refused in one sentence."""

import pytest
import torch
from tiny_encoder import images, tiny_encoder
from torch import nn

from fsl_explain import Encoder
from fsl_explain.backbones import Conv4Net

NETWORK = Conv4Net(channels=4)


@pytest.fixture(autouse=True)
def as_outside_of_tests(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Encoder("resnet18"), "expected a torch.nn.Module as the network of an encoder, but got str"),
        (lambda: Encoder(Conv4Net), r"but got the class Conv4Net; write Conv4Net\(…\)"),
        (lambda: Encoder.wrap(Conv4Net, "blocks"), r"but got the class Conv4Net; write Conv4Net\(…\)"),
        (lambda: Encoder(NETWORK, layer="blocks"), "the layer of an encoder, but got str; a layer may be named in Enc"),
        (lambda: Encoder(NETWORK, head="none"), "the head of an encoder, but got str"),
        (
            lambda: Encoder.wrap(NETWORK, head=nn.Identity),
            r"the head of an .*, but got the class Identity; write Ident",
        ),
        (lambda: Encoder.named("conv4net", head="none"), r"but got str; HeadConfig\(kind='none'\) is none"),
        (lambda: Encoder(NETWORK, preprocess="imagenet"), "expected a preprocess that makes a tensor .* but got str"),
        (lambda: tiny_encoder().with_head(None), "the head of an encoder, but got NoneType"),
    ],
)
def test_parts_of_other_kinds_are_refused(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        make()


def test_a_batch_of_images_is_one_tensor():
    for given in (images(2).numpy(), [images()]):
        with pytest.raises(TypeError, match=rf"one tensor, but got {type(given).__name__}; use encoder.preprocess"):
            tiny_encoder()(given)


@pytest.mark.parametrize("encoder", [tiny_encoder(), tiny_encoder().at_scales([6])], ids=["one size", "scales"])
def test_images_have_four_dimensions(encoder):
    with pytest.raises(
        ValueError, match=r"height, width\), but got shape \(3, 6, 8\); give image\[None\] for a single"
    ):
        encoder(torch.zeros(3, 6, 8))
    with pytest.raises(ValueError, match=r"height, width\), but got shape \(2, 2, 3, 6, 8\)\.$"):
        encoder(torch.zeros(2, 2, 3, 6, 8))


@pytest.mark.parametrize("place", [torch.float16, "gpu", 2.5], ids=str)
def test_an_encoder_is_moved_to_devices_alone(place):
    """A module itself would take a dtype, and change its weights for good."""
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match=r"expected a device this machine has, but got .*; use cpu"):
        encoder.to(place)
    assert encoder.to(torch.device("cpu")) is encoder
    assert {value.dtype for value in encoder.network.parameters()} == {torch.float64}
