"""The overlap of maps with annotated boxes, at the threshold of an evaluation."""

from jaxtyping import Float
from torch import Tensor

from fsl_explain import metrics


def overlap(
    saliency: Float[Tensor, "batch height width"], boxes: Float[Tensor, "batch 4"], threshold: float
) -> Float[Tensor, "batch"]:
    """Return the intersection over union of each map's box with the annotated one."""
    return metrics.intersection_over_union(saliency, boxes, threshold=threshold)
