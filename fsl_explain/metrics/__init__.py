"""How far an explanation can be trusted: published metrics on maps, masks and scores, batched and without side effects.

Maps are (batch, height, width); signed maps are read by their positive part. A figure that is not defined is NaN.
"""

from fsl_explain.metrics.bounding_box import intersection_over_union, largest_component_boxes
from fsl_explain.metrics.completeness import completeness_error
from fsl_explain.metrics.faithfulness import (
    average_drop,
    average_drop_excluded,
    average_gain,
    drops,
    gains,
    increase_in_confidence,
    increases,
    normalized_drop,
    normalized_drops,
)
from fsl_explain.metrics.figures_of_maps import MapFigures, map_figures
from fsl_explain.metrics.gini_index import sparseness
from fsl_explain.metrics.interval import MeanInterval, mean_interval
from fsl_explain.metrics.localization import (
    auc,
    pointing_game,
    proportion,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    top_k_intersection,
)
from fsl_explain.metrics.localization_accuracy import BoxAccuracy, box_accuracy, intersections_over_unions
from fsl_explain.metrics.map_entropy import complexity
from fsl_explain.metrics.map_similarity import map_correlation, map_rank_correlation
from fsl_explain.metrics.masking import masked_images, masks_from_saliency, masks_from_signed_saliency, removed_pixels
from fsl_explain.metrics.noise_stability import Stability, stability
from fsl_explain.metrics.noisy_imputation import Road, noisy_linear_imputation, road
from fsl_explain.metrics.randomization import (
    WeightRandomization,
    cascading_weight_randomization,
    reference_randomization,
    weight_randomization,
)
from fsl_explain.metrics.removal_curves import RemovalCurve, Side, deletion, insertion

__all__ = [
    "BoxAccuracy",
    "MapFigures",
    "MeanInterval",
    "RemovalCurve",
    "Road",
    "Side",
    "Stability",
    "WeightRandomization",
    "auc",
    "average_drop",
    "average_drop_excluded",
    "average_gain",
    "box_accuracy",
    "cascading_weight_randomization",
    "completeness_error",
    "complexity",
    "deletion",
    "drops",
    "gains",
    "increase_in_confidence",
    "increases",
    "insertion",
    "intersection_over_union",
    "intersections_over_unions",
    "largest_component_boxes",
    "map_correlation",
    "map_figures",
    "map_rank_correlation",
    "masked_images",
    "masks_from_saliency",
    "masks_from_signed_saliency",
    "mean_interval",
    "noisy_linear_imputation",
    "normalized_drop",
    "normalized_drops",
    "pointing_game",
    "proportion",
    "reference_randomization",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "removed_pixels",
    "road",
    "sparseness",
    "stability",
    "top_k_intersection",
    "weight_randomization",
]
