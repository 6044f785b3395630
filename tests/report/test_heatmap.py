from base64 import b64decode
from io import BytesIO

import pytest
import torch
from PIL import Image

from fsl_explain.pictures.picture import colorize
from fsl_explain.report.heatmap import gradient, picture


def decoded(shown):
    kind, data = shown.source.split(";base64,")
    assert kind == "data:image/webp"
    return Image.open(BytesIO(b64decode(data)))


@pytest.mark.parametrize(("width", "expected"), [(30, (60, 30)), (100, (120, 60))])
def test_a_picture_has_at_most_two_pixels_for_one_and_never_more_than_it_had(width, expected):
    shown = picture(torch.zeros(60, 120, 3), "nothing", width)
    assert decoded(shown).size == expected == (shown.width, shown.height)


def test_a_picture_keeps_its_colors():
    colors = torch.zeros(32, 32, 3)
    colors[:, 16:] = torch.tensor([1.0, 0.5, 1.2])
    image = decoded(picture(colors, "half", 100)).convert("RGB")
    assert max(image.getpixel((4, 16))) < 8
    assert image.getpixel((28, 16)) == pytest.approx((255, 128, 255), abs=12)


@pytest.mark.parametrize("signed", [True, False])
def test_the_legend_has_the_colors_of_the_maps(signed):
    low, high = colorize(torch.tensor([[-1.0 if signed else 0.0, 1.0]]), signed)[0].mul(255).round().int().tolist()
    shown = gradient(signed)
    assert shown.startswith(f"linear-gradient(to right, rgb({low[0]} {low[1]} {low[2]})")
    assert shown.endswith(f"rgb({high[0]} {high[1]} {high[2]}))")
