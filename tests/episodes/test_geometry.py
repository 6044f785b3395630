"""A map laid back on its photograph lies on what the network saw."""

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import v2

from episodes import center_crop, direct_resize, training_transform
from episodes.geometry import Geometry, geometry_of, geometry_of_sizes

EDGE = 3  # pixels of the photograph, two of what the network sees, over which the resizing blurs an edge
PLAIN = ((0.0,) * 3, (1.0,) * 3)
RECTANGLES = {
    (300, 200): (120, 60, 180, 120),
    (200, 300): (60, 120, 120, 180),
}  # width, height: left, top, right, bottom
TRANSFORMS = {
    "resize": direct_resize(96, *PLAIN),
    "resize and crop": center_crop(110, 96, *PLAIN),
    "torchvision": v1.Compose([v1.Resize(110), v1.CenterCrop(96), v1.ToTensor()]),
    "shorter side": v2.Compose([v2.Resize(96), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
}


def photograph(size):
    """White on its rectangle, black elsewhere."""
    left, top, right, bottom = RECTANGLES[size]
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", RECTANGLES, ids=["landscape", "portrait"])
def test_what_the_network_saw_of_a_rectangle_comes_back_on_it(name, size):
    seen = TRANSFORMS[name](photograph(size)).mean(dim=0)
    back = geometry_of(TRANSFORMS[name]).back(seen, (size[1], size[0]))
    assert back.shape == (size[1], size[0])
    left, top, right, bottom = RECTANGLES[size]
    assert (back[top + EDGE : bottom - EDGE, left + EDGE : right - EDGE] > 0.5).all()
    back[top - EDGE : bottom + EDGE, left - EDGE : right + EDGE] = 0
    assert (back.nan_to_num() < 0.5).all()


@pytest.mark.parametrize("size", RECTANGLES, ids=["landscape", "portrait"])
def test_what_was_cut_away_has_no_value(size):
    """The shorter side of 200 became 110 and 96 of it are left: 174.5 pixels of the photograph, in its center."""
    width, height = size
    back = geometry_of(TRANSFORMS["resize and crop"]).back(-torch.ones(96, 96), (height, width))
    kept = ~back.isnan()
    torch.testing.assert_close(back[kept], -torch.ones(int(kept.sum())))
    rows, columns = kept.any(dim=1).nonzero()[:, 0], kept.any(dim=0).nonzero()[:, 0]
    for places, side in ((rows, height), (columns, width)):
        assert len(places) in (174, 175)
        assert abs(int(places[0] + places[-1]) + 1 - side) <= 2
    assert not geometry_of(TRANSFORMS["resize"]).back(torch.ones(96, 96), (height, width)).isnan().any()


def test_a_transform_that_does_more_shows_no_geometry():
    unknown = [
        training_transform(84, *PLAIN),
        v2.Compose([v2.Resize(110), v2.Pad(3)]),
        v2.Compose([v2.Resize(110, max_size=200)]),
        v2.Compose([v2.CenterCrop(96), v2.Resize(96)]),
        v2.Compose([v2.ToImage()]),
        lambda image: image,
    ]
    assert [geometry_of(transform) for transform in unknown] == [None] * len(unknown)


def test_a_geometry_is_plain_values():
    for found in (Geometry((96, 96)), Geometry((110,), (96, 90))):
        assert Geometry.of_plain(found.plain) == found
    assert geometry_of_sizes(110, 96) == geometry_of(TRANSFORMS["resize and crop"])
    assert geometry_of_sizes((96, 96)) == geometry_of(TRANSFORMS["resize"])


def test_a_map_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match=r"^expected a map of 96×96 pixels, as .* but got one of 84×80; give the resize="
    ):
        Geometry((96, 96)).back(torch.ones(84, 80), (300, 200))
