"""What removing pixels does, as figures of maps: areas under curves, and whether maps tell the drops of regions."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.metrics.removal_curves import Score


@dataclass(frozen=True)
class RemovedSets:
    """Sets of regions that were removed from each image, and what the explained number really lost by it."""

    sets: Bool[Tensor, "batch set region"]
    drops: Float[Tensor, "batch set"]

    def claimed(self, saliency: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch set"]:
        """Return what maps hold in each set: the drops that they claim."""
        grid = round(self.sets.shape[2] ** 0.5)
        return metrics.removed_sums(metrics.region_sums(saliency, grid), self.sets)


def insertion_area(lead: Score, side: metrics.Side, steps: int) -> Float[Tensor, "batch"]:
    """Return the mean lead while the map's pixels are put back. Larger is better."""
    return metrics.insertion(lead, side, steps=steps).area


def deletion_area(lead: Score, side: metrics.Side, steps: int) -> Float[Tensor, "batch"]:
    """Return the mean lead while the map's pixels are removed. Smaller is better."""
    return metrics.deletion(lead, side, steps=steps).area


def correlation(saliency: Float[Tensor, "batch height width"], removed: RemovedSets) -> Float[Tensor, "batch"]:
    """Return the correlation of maps' sums over removed sets with the real drops. Larger is better."""
    return metrics.removal_correlation(removed.claimed(saliency), removed.drops)


def rank_correlation(saliency: Float[Tensor, "batch height width"], removed: RemovedSets) -> Float[Tensor, "batch"]:
    """Return their rank correlation. Larger is better."""
    return metrics.removal_rank_correlation(removed.claimed(saliency), removed.drops)


def partial_correlation(saliency: Float[Tensor, "batch height width"], removed: RemovedSets) -> Float[Tensor, "batch"]:
    """Return their correlation with the number of removed regions held still. Larger is better."""
    sizes = removed.sets.sum(dim=2).double()
    return metrics.removal_partial_correlation(removed.claimed(saliency), removed.drops, sizes)


def infidelity(saliency: Float[Tensor, "batch height width"], removed: RemovedSets) -> Float[Tensor, "batch"]:
    """Return the share of the squared drops that maps leave unexplained at their best scale. Smaller is better."""
    return metrics.infidelity(removed.claimed(saliency), removed.drops)
