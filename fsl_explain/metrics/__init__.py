"""How far an explanation can be trusted: published metrics on maps, masks and scores, batched and without side effects.

Maps are (batch, height, width); signed maps are read by their positive part. A figure that is not defined is NaN.
"""

from fsl_explain.metrics.bounding_box import intersection_over_union, largest_component_boxes
from fsl_explain.metrics.faithfulness import (
    average_drop,
    average_drop_excluded,
    drops,
    increase_in_confidence,
    increases,
)
from fsl_explain.metrics.interval import MeanInterval, mean_interval
from fsl_explain.metrics.localization import (
    auc,
    pointing_game,
    proportion,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    top_k_intersection,
)
from fsl_explain.metrics.masking import (
    masked_images,
    masks_from_saliency,
    masks_from_signed_saliency,
    removed_pixels,
)
from fsl_explain.metrics.sparseness import sparseness

__all__ = [
    "MeanInterval",
    "auc",
    "average_drop",
    "average_drop_excluded",
    "drops",
    "increase_in_confidence",
    "increases",
    "intersection_over_union",
    "largest_component_boxes",
    "masked_images",
    "masks_from_saliency",
    "masks_from_signed_saliency",
    "mean_interval",
    "pointing_game",
    "proportion",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "removed_pixels",
    "sparseness",
    "top_k_intersection",
]
