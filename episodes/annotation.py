"""Boxes and masks: where the object lies.

A box is (left, top, right, bottom) in pixels, in half-open continuous coordinates: the box
(2, 3, 8, 9) covers the pixel columns 2 to 7 and the pixel rows 3 to 8.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision import tv_tensors

from episodes.errors import Mistake

OVERSHOOT = 1.0
"""Pixels by which a box may leave its image: published boxes are rounded."""


def box_mask(boxes: Float[Tensor, "batch 4"], height: int, width: int) -> Bool[Tensor, "batch height width"]:
    """Return the pixels of each box in images of ``height`` × ``width``: those whose center lies inside it."""
    left, top, right, bottom = boxes[:, :, None].unbind(dim=1)
    across = torch.arange(width, device=boxes.device) + 0.5
    down = torch.arange(height, device=boxes.device) + 0.5
    columns = (left <= across) & (across < right)
    rows = (top <= down) & (down < bottom)
    return rows[:, :, None] & columns[:, None, :]


def mask_box(masks: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch 4"]:
    """Return the tight box of each mask.

    Raises:
        ValueError: a mask has no pixel, so that it has no box.
    """
    columns, rows = masks.any(dim=1), masks.any(dim=2)
    if not bool(rows.any(dim=1).all()):
        first = int((~rows.any(dim=1)).nonzero()[0])
        raise Mistake(f"every mask needs at least one pixel, but mask {first} of {len(masks)} is empty; leave it out.")
    left, right = _first_and_end(columns)
    top, bottom = _first_and_end(rows)
    return torch.stack([left, top, right, bottom], dim=1).float()


def checked_boxes(boxes: Float[Tensor, "box 4"], image_size: tuple[int, int], where: str) -> Float[Tensor, "box 4"]:
    """Return the boxes of one image, clamped to it, as float32; a box may leave it by up to 1 pixel.

    Args:
        boxes: left, top, right, bottom in pixels, half-open.
        image_size: height and width of the image in pixels.
        where: the file that the error names.

    Raises:
        ValueError: a box is not finite, empty, inverted or outside the image.
    """
    height, width = image_size
    for box in boxes.tolist():
        fault = _fault(box, height, width)
        if fault:
            shown = ", ".join(f"{edge:g}" for edge in box)
            raise Mistake(
                f"{where}: the box ({shown}) {fault} of {width}x{height} pixels; "
                "it should be left, top, right, bottom in pixels. Correct or drop it."
            )
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    inside = torch.minimum(boxes.float().clamp(min=0), limits)
    found: Tensor = tv_tensors.BoundingBoxes(inside, format="XYXY", canvas_size=(height, width))
    return found


def _fault(box: list[float], height: int, width: int) -> str | None:
    left, top, right, bottom = box
    if not all(abs(edge) < float("inf") for edge in box):
        return "is not finite in the image"
    if right <= left or bottom <= top:
        return "is empty or inverted in the image"
    if min(left, top) < -OVERSHOOT or right > width + OVERSHOOT or bottom > height + OVERSHOOT:
        return "lies outside the image"
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return "lies outside the image"
    return None


def _first_and_end(occupied: Bool[Tensor, "batch cell"]) -> tuple[Tensor, Tensor]:
    """Return the first occupied cell of each row and the one after the last."""
    first = occupied.int().argmax(dim=1)
    end = occupied.shape[1] - occupied.flip(dims=[1]).int().argmax(dim=1)
    return first, end
