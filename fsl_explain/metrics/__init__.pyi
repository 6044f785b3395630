from .bounding_box import intersection_over_union, largest_component_boxes
from .completeness import completeness_error
from .faithfulness import (
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
from .figures_of_maps import MapFigures, map_figures
from .gini_index import sparseness
from .interval import MeanInterval, mean_interval
from .localization import (
    auc,
    pointing_game,
    proportion,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    top_k_intersection,
)
from .localization_accuracy import BoxAccuracy, box_accuracy, intersections_over_unions
from .map_entropy import complexity
from .map_similarity import map_correlation, map_rank_correlation
from .masking import masked_images, masks_from_saliency, masks_from_signed_saliency, removed_pixels
from .noise_stability import Stability, stability
from .noisy_imputation import Road, noisy_linear_imputation, road
from .randomization import (
    WeightRandomization,
    cascading_weight_randomization,
    reference_randomization,
    weight_randomization,
)
from .removal_curves import RemovalCurve, Side, deletion, insertion

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
