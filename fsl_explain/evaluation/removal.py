"""The areas under the curves of insertion and deletion, as figures."""

from jaxtyping import Float
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.metrics.removal_curves import Score


def insertion_area(lead: Score, side: metrics.Side, steps: int) -> Float[Tensor, "batch"]:
    """Return the mean lead while the map's pixels are put back. Larger is better."""
    return metrics.insertion(lead, side, steps=steps).area


def deletion_area(lead: Score, side: metrics.Side, steps: int) -> Float[Tensor, "batch"]:
    """Return the mean lead while the map's pixels are removed. Smaller is better."""
    return metrics.deletion(lead, side, steps=steps).area
