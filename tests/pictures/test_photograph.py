"""Maps in the size of their photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from episodes import center_crop, direct_resize, read_image
from episodes.labeled_image import EXIF_ORIENTATION
from fsl_explain import Encoder, explain, load_explanation

WIDE = (300, 200)  # width, height
PLAIN = ((0.0,) * 3, (1.0,) * 3)


class Signed(nn.Module):
    """Red minus half, in cells of 8 pixels, beside a constant."""

    def forward(self, images):
        cells = nn.functional.avg_pool2d(images, 8)
        return torch.cat([cells[:, :1] - 0.5, torch.ones_like(cells[:, :1])], dim=1)


def photograph():
    """Red on the left third, black elsewhere."""
    pixels = np.zeros((WIDE[1], WIDE[0], 3), np.uint8)
    pixels[:, :100, 0] = 255
    return Image.fromarray(pixels)


def explained(transform, picture=None):
    network = Signed()
    encoder = Encoder.wrap(network, network, preprocess=transform)
    query = encoder.preprocess([photograph() if picture is None else picture])[0]
    red = torch.zeros(1, 3, *query.shape[1:])
    red[:, 0] = 1
    return explain(encoder, query, {"red": red}, similarity="inner-product")


TRANSFORMS = {"resize": direct_resize(96, *PLAIN), "crop": center_crop(104, 96, *PLAIN)}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_map_lies_on_its_photograph_with_its_sign(name):
    explanation = explained(TRANSFORMS[name])
    found = explanation.saliency_on(photograph())
    assert found.shape == (200, 300)
    assert (found.isnan().any()) == (name == "crop")
    columns = found.nanmean(dim=0)
    assert columns[60:88].min() > columns[112:240].max()
    drawn = np.asarray(explanation.on_photograph(photograph(), overlay=False)).astype(int)
    assert drawn.shape == (200, 300, 4)
    assert np.array_equal(drawn[..., 3] == 0, found.isnan().numpy())
    over = explanation.on_photograph(photograph())
    assert (over.size, over.mode) == (WIDE, "RGB")
    outside = found.isnan().numpy()
    assert np.array_equal(np.asarray(over)[outside], np.asarray(photograph())[outside])
    assert not np.array_equal(np.asarray(over), np.asarray(photograph()))


def test_red_is_positive_and_blue_negative_on_the_scale_of_the_whole_map():
    explanation = explained(TRANSFORMS["crop"])
    found = explanation.saliency_on(photograph())
    drawn = np.asarray(explanation.on_photograph(photograph(), overlay=False)).astype(int)
    strong = found.abs() > 0.5 * explanation.saliency.abs().max()
    warmer = torch.from_numpy(drawn[..., 0] > drawn[..., 2])
    assert strong.any()
    assert torch.equal(warmer[strong], found[strong] > 0)


def test_a_loaded_explanation_still_lies_on_its_photograph(tmp_path):
    explanation = explained(TRANSFORMS["crop"])
    explanation.save(tmp_path / "one.safetensors")
    loaded = load_explanation(tmp_path / "one.safetensors")
    assert loaded.on_photograph(photograph()).tobytes() == explanation.on_photograph(photograph()).tobytes()


def test_the_photograph_is_turned_upright_first():
    turned = photograph().transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[EXIF_ORIENTATION] = 6  # to be turned by 90 degrees to the right
    turned.info["exif"] = exif.tobytes()
    explanation = explained(TRANSFORMS["resize"])
    assert explanation.on_photograph(turned).tobytes() == explanation.on_photograph(photograph()).tobytes()


def test_a_photograph_that_was_read_upright_is_not_turned_again(tmp_path):
    turned = photograph().transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[EXIF_ORIENTATION] = 6
    turned.save(tmp_path / "one.png", exif=exif)
    explanation = explained(TRANSFORMS["resize"])
    for opened in (read_image(tmp_path / "one.png"), Image.open(tmp_path / "one.png")):
        assert explanation.on_photograph(opened).tobytes() == explanation.on_photograph(photograph()).tobytes()


def test_an_own_transform_is_asked_for_its_sizes():
    hidden = explained(TRANSFORMS["crop"].__call__)
    with pytest.raises(
        ValueError, match=r"^expected a preprocessing whose resizing and cropping are known, but .*; give"
    ):
        hidden.on_photograph(photograph())
    told = hidden.on_photograph(photograph(), resize=104, crop=96)
    assert told.tobytes() == explained(TRANSFORMS["crop"]).on_photograph(photograph()).tobytes()
    with pytest.raises(
        ValueError, match=r"^expected a map of 100×100 pixels, .* but got one of 96×96; give the resize="
    ):
        hidden.on_photograph(photograph(), resize=104, crop=100)
    for explanation in (hidden, explained(TRANSFORMS["crop"])):  # one knows a crop of its own
        with pytest.raises(ValueError, match=r"^crop= is of an image that was resized, but resize= was not given"):
            explanation.saliency_on(photograph(), crop=96)
