"""What a preprocessing does is read from torchvision's transforms of either version, and what others make."""

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from PIL import Image
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from episodes import BlueGreenRed
from fsl_explain import Encoder, explain

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def _convert_image_to_rgb(image):
    return image.convert("RGB")


def _brightened(image):
    return image.point(lambda value: min(255, value * 2))


END = [v1.ToTensor(), v1.Normalize(MEAN, STD)]
END_V2 = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
READ = {
    "v1": v1.Compose([v1.Resize((32, 32)), *END]),
    "v2": v2.Compose([v2.Resize((32, 32)), *END_V2]),
    "v1 in v1": v1.Compose([v1.Compose([v1.Resize(40), v1.CenterCrop(32)]), v1.Compose(END)]),
    "v1 in v2": v2.Compose([v1.Compose([v1.Resize(40), v1.CenterCrop(32)]), v2.Compose(END_V2)]),
    "a chain of modules": nn.Sequential(v2.Resize(40), v2.CenterCrop(32), v2.Compose(END_V2)),
    "as timm makes it": v1.Compose(
        [v1.Resize(40), v1.CenterCrop(32), v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))]
    ),
    "as CLIP does": v1.Compose([v1.Resize(32), v1.CenterCrop(32), _convert_image_to_rgb, *END]),
    "a function": v1.Compose([v1.Lambda(lambda image: image.convert("RGB")), v1.Resize((32, 32)), *END]),
    "a preset": ResNet18_Weights.DEFAULT.transforms(crop_size=32, resize_size=40),
}
REVERSED = {
    "ours": v2.Compose([v2.Resize((32, 32)), v2.ToImage(), BlueGreenRed(), *END_V2[1:]]),
    "v1": v1.Compose([v1.Resize((32, 32)), v1.ToTensor(), v1.Lambda(lambda image: image.flip(0)), END[1]]),
    "v2": v2.Compose([v2.Resize((32, 32)), *END_V2[:2], v2.Lambda(lambda image: image[[2, 1, 0]]), END_V2[2]]),
}


def encoder_of(preprocess):
    network = nn.Conv2d(3, 8, 4, 4)
    return Encoder.wrap(network, network, preprocess=preprocess)


@pytest.mark.parametrize("name", [*READ, *REVERSED])
def test_pictures_have_the_colors_of_the_photograph(name):
    transform = (READ | REVERSED)[name]
    encoder = encoder_of(transform)
    pixels = np.random.default_rng(0).integers(60, 120, (40, 40, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels)
    query = encoder.preprocess([photograph])[0]
    shown = explain(encoder, query, {"a": query[None]}).image
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    expected = query * std + mean
    expected = expected.flip(0) if name in REVERSED else expected
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*READ, *REVERSED])
def test_all_that_a_transform_shows_is_read(name):
    encoder = encoder_of((READ | REVERSED)[name])
    mean, std = encoder.normalization
    np.testing.assert_allclose([mean, std], [MEAN, STD], rtol=1e-6)
    assert all(type(value) is float for value in mean + std)
    assert encoder.bgr == (name in REVERSED)
    assert encoder.image_size == 32
    black = encoder.preprocess([Image.new("RGB", (40, 40))])[0]
    torch.testing.assert_close(encoder.black.expand_as(black), black)
    assert encoder.geometry is not None
    assert encoder.geometry.resized((40, 40)) in ((32, 32), (40, 40))


@pytest.mark.parametrize(
    "step", [v1.RandomHorizontalFlip(), v1.Pad(3), v1.Lambda(lambda image: image.rotate(90)), _brightened]
)
def test_what_may_move_pixels_has_no_geometry(step):
    assert encoder_of(v1.Compose([v1.Resize((32, 32)), step, *END])).geometry is None


@pytest.mark.parametrize("preprocess", [v1.ToTensor(), lambda image: torch.zeros(3, 8, 8)], ids=["pixels", "opaque"])
def test_what_is_not_shown_is_none(preprocess):
    encoder = encoder_of(preprocess)
    assert encoder.normalization is None
    assert encoder.black is None
    assert encoder.image_size is None


@pytest.mark.parametrize("size", [48, [48]])
def test_a_shorter_side_makes_no_square(size):
    assert encoder_of(v1.Compose([v1.Resize(size), *END])).image_size is None


def test_an_encoder_moves_and_says_which_devices_are_not_there():
    encoder = encoder_of(READ["v1"])
    assert encoder.to("cpu") is encoder
    assert encoder.to(torch.device("cpu"))(torch.zeros(1, 3, 8, 8)).maps.device.type == "cpu"
    for device in ("cuda:77", "nowhere"):
        with pytest.raises(ValueError, match=f"expected a device this machine has, but got '{device}'; use cpu"):
            encoder.to(device)
