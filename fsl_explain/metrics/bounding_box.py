"""The box that a map draws round its object, and how well it fits the true one.

Reference: FAM (Liao, Gao, Zhang, 2023), after Zhou et al., "Learning Deep Features for Discriminative Localization",
2016 (threshold at a fifth of the maximum, largest connected component, tight box).
"""

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torchvision.ops import box_area

from episodes.errors import Mistake
from fsl_explain.metrics.batching import check_one_each
from fsl_explain.metrics.connected_components import boxes_of_largest_components
from fsl_explain.metrics.pixelwise import reaches
from fsl_explain.metrics.positive_part import says_something, undefined_unless


def intersection_over_union(
    saliency: Float[Tensor, "batch height width"], boxes: Real[Tensor, "batch 4"], *, threshold: float = 0.2
) -> Float[Tensor, "batch"]:
    """Return how well the box round the bright part of each map fits the true box (FAM Eq. 20). Larger is better.

    In [0, 1]. Boxes are (left, top, right, bottom) in pixels, half-open: the box of the pixel in the upper left
    corner is (0, 0, 1, 1). The box of the map is that of ``largest_component_boxes``. NaN for a true box without
    area, for a map without a positive pixel and for one with a NaN or infinite pixel.

    Raises:
        ValueError: the threshold does not lie above 0 and up to 1, or there is not one box for each map.
    """
    check_one_each(saliency, boxes, "box")
    found = largest_component_boxes(saliency, threshold=threshold)
    true = boxes.to(found)
    top_left, bottom_right = torch.maximum(found[:, :2], true[:, :2]), torch.minimum(found[:, 2:], true[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=1)
    union = box_area(found) + box_area(true) - intersection
    has_area = (true[:, 2:] > true[:, :2]).all(dim=1)
    return undefined_unless(has_area, intersection / union)


def largest_component_boxes(
    saliency: Float[Tensor, "batch height width"], *, threshold: float = 0.2
) -> Float[Tensor, "batch 4"]:
    """Return the tight box round the largest connected region of pixels of at least threshold times the maximum.

    The positive part of the map counts. Pixels that touch at a corner are connected (8-connectivity); of regions of
    the same size the one whose first pixel comes first, row by row, counts. Boxes are (left, top, right, bottom) in
    pixels, half-open, in single precision at least. Four NaN for a map without a positive pixel and for one with a NaN
    or infinite pixel.

    Raises:
        ValueError: the threshold does not lie above 0 and up to 1.
    """
    if not 0 < threshold <= 1:
        raise Mistake(
            f"the threshold is a share of the map's maximum, above 0 and up to 1, but it is {threshold}. "
            "Choose one in between, such as 0.2."
        )
    # Nothing lies at NaN or above; where there is a positive pixel, nothing below 0 lies at a share of the maximum.
    bound = undefined_unless(says_something(saliency), threshold * saliency.amax(dim=(1, 2)))
    is_bright = reaches(saliency, bound)
    boxes = torch.from_numpy(boxes_of_largest_components(is_bright.cpu().numpy()))
    # Half precision holds neither every pixel's place nor the area of a photograph.
    return boxes.to(saliency.device, torch.promote_types(saliency.dtype, torch.float32))
