"""Small maps full of ties, zeros and negative values, with masks and boxes."""

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor


class Target(NamedTuple):
    saliency: Tensor
    mask: Tensor
    boxes: Tensor


@st.composite
def targets(draw, batch: int = 3, side: int = 6) -> Target:
    """Maps of eighths in [-1/2, 1], masks of any shape, and boxes with whole or half corners, some without area."""
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    pixels = batch * height * width
    levels = draw(st.sampled_from([(-4, 8), (-1, 1), (0, 8), (0, 1), (-2, 0)]))
    values = draw(st.lists(st.integers(*levels), min_size=pixels, max_size=pixels))
    mask = draw(st.lists(st.booleans(), min_size=pixels, max_size=pixels))
    corners = draw(st.lists(st.integers(0, 2 * side), min_size=4 * batch, max_size=4 * batch))
    return Target(
        (torch.tensor(values, dtype=torch.float64) / 8).reshape(batch, height, width),
        torch.tensor(mask).reshape(batch, height, width),
        torch.tensor(corners, dtype=torch.float64).reshape(batch, 4) / 2,
    )


def random_target(batch: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> Target:
    """Signed maps with a smooth part and noise, and one box in each, which is also its mask."""
    generator = torch.Generator().manual_seed(batch * height * width)
    coarse = torch.randn(batch, 1, 5, 5, generator=generator, dtype=dtype)
    noise = torch.randn(batch, height, width, generator=generator, dtype=dtype)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0]
    box = torch.tensor([width // 5, height // 4, width // 5 + width // 2, height // 4 + height // 2])
    boxes = box.expand(batch, 4)
    return Target(smooth + noise / 4, masks_of(boxes, height, width), boxes)


def masks_of(boxes: Tensor, height: int, width: int) -> Tensor:
    left, top, right, bottom = boxes[:, :, None, None].unbind(1)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    return (left <= x) & (x < right) & (top <= y) & (y < bottom)
