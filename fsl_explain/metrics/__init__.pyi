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
from .regions import (
    each_alone,
    random_orders,
    random_sets,
    region_of_pixels,
    region_sums,
    removed_sums,
    replacement,
    sets_along,
    shapley_values,
    without_regions,
)
from .removal_agreement import infidelity, removal_correlation, removal_partial_correlation, removal_rank_correlation
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
    "each_alone",
    "gains",
    "increase_in_confidence",
    "increases",
    "infidelity",
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
    "random_orders",
    "random_sets",
    "reference_randomization",
    "region_of_pixels",
    "region_sums",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "removal_correlation",
    "removal_partial_correlation",
    "removal_rank_correlation",
    "removed_pixels",
    "removed_sums",
    "replacement",
    "road",
    "sets_along",
    "shapley_values",
    "sparseness",
    "stability",
    "top_k_intersection",
    "weight_randomization",
    "without_regions",
]
