import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from episodes.annotation import box_mask, checked_boxes, mask_box

HEIGHT, WIDTH = 9, 13


@st.composite
def whole_boxes(draw):
    left, right = sorted(draw(st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True)))
    return [left, top, right, bottom]


def test_a_box_covers_the_pixels_from_its_first_edge_up_to_its_last():
    (mask,) = box_mask(torch.tensor([[2.0, 3, 8, 9]]), 12, 10)
    assert mask.any(dim=0).nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]
    assert mask.any(dim=1).nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8]
    assert int(mask.sum()) == 36


def test_a_pixel_belongs_where_its_center_lies():
    wide, tall = box_mask(torch.tensor([[0.5, 0.6, 2.5, 2.6], [0.6, 0.5, 2.6, 2.5]]), 4, 4)
    assert wide.nonzero().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    assert tall.nonzero().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


@given(st.lists(whole_boxes(), min_size=1, max_size=4))
def test_the_box_of_a_boxes_mask_is_the_box(boxes):
    expected = torch.tensor(boxes, dtype=torch.float32)
    assert torch.equal(mask_box(box_mask(expected, HEIGHT, WIDTH)), expected)


def test_an_empty_mask_has_no_box():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[[0, 2], 1, 1] = True
    with pytest.raises(ValueError, match="mask 1 of 3 is empty"):
        mask_box(masks)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([1, 1, math.nan, 3], "not finite"),
        ([1, 1, math.inf, 3], "not finite"),
        ([1, 1, 1, 3], "empty or inverted"),
        ([5, 1, 2, 3], "empty or inverted"),
        ([1, 1, 15, 3], "outside"),
        ([1, 1, 3, 11], "outside"),
        ([-2, 1, 3, 3], "outside"),
        ([1, -2, 3, 3], "outside"),
        ([13, 1, 14, 3], "outside"),
        ([1, 9, 3, 10], "outside"),
        ([-1, 1, 0, 3], "outside"),
        ([1, -1, 3, 0], "outside"),
    ],
)
def test_a_bad_box_is_named_with_its_file_and_image(box, fault):
    shown = ", ".join(f"{edge:g}" for edge in box)
    boxes = torch.tensor([[0, 0, 2, 2], box], dtype=torch.float32)
    with pytest.raises(ValueError, match=rf"bird\.jpg: the box \({shown}\) .*{fault}.* of 13x9 pixels"):
        checked_boxes(boxes, (HEIGHT, WIDTH), "bird.jpg")


def test_rounding_of_a_pixel_is_clamped():
    boxes = checked_boxes(torch.tensor([[-1.0, -0.5, 14, 10], [2, 3, 4, 5]]), (HEIGHT, WIDTH), "bird.jpg")
    assert boxes.tolist() == [[0, 0, 13, 9], [2, 3, 4, 5]]
    assert boxes.dtype == torch.float32
    assert boxes.canvas_size == (HEIGHT, WIDTH)
