"""How often the box that a map draws fits, over all thresholds: one threshold flatters one method and not another.

Reference: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", 2020 (MaxBoxAcc). Their second
version also tries every connected region of a threshold; here, as in the first, the largest one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.metrics.bounding_box import intersection_over_union

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
OVERLAPS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class BoxAccuracy:
    """The share of images, in [0, 1], whose box overlaps the true one enough, at each threshold. Larger is better.

    ``thresholds`` are shares of the map's maximum, ``overlaps`` the IoU from which a box counts as right. ``accuracy``
    is that share of images, NaN where no image counts; ``counted`` are those with a box and a map that says something.
    """

    thresholds: Float[Tensor, "threshold"]
    overlaps: Float[Tensor, "overlap"]
    accuracy: Float[Tensor, "overlap threshold"]
    counted: int

    @property
    def best(self) -> Float[Tensor, "overlap"]:
        """The accuracy at the best threshold of each overlap: MaxBoxAcc; its mean is that of the second version."""
        return self.accuracy.amax(dim=1)

    @property
    def best_threshold(self) -> Float[Tensor, "overlap"]:
        """The lowest of the best thresholds; NaN where no image counts.

        It is chosen on the very images, so compare methods by it, not figures.
        """
        lowest = self.thresholds[self.accuracy.argmax(dim=1)]
        return torch.where(self.best.isnan(), torch.nan, lowest)


def intersections_over_unions(
    saliency: Float[Tensor, "batch height width"],
    boxes: Real[Tensor, "batch 4"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Float[Tensor, "batch threshold"]:
    """Return ``intersection_over_union`` at every threshold.

    Raises:
        ValueError: a threshold does not lie above 0 and up to 1, or there is not one box for each map.
    """
    return torch.stack(
        [intersection_over_union(saliency, boxes, threshold=threshold) for threshold in thresholds], dim=1
    )


def box_accuracy(
    overlaps_found: Float[Tensor, "batch threshold"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    overlaps: Sequence[float] = OVERLAPS,
) -> BoxAccuracy:
    """Return how many images reach each overlap at each threshold, from all their ``intersections_over_unions``.

    An overlap that is just reached counts. Images with NaN are left out; NaN where none is left.

    Raises:
        ValueError: there is not one threshold for each column.
    """
    if overlaps_found.shape[1] != len(thresholds):
        raise Mistake(
            f"expected one threshold for each of {overlaps_found.shape[1]} columns, but got {len(thresholds)}; "
            "pass those that the overlaps were found with."
        )
    counted = overlaps_found[~overlaps_found.isnan().any(dim=1)]
    asked = torch.tensor(list(overlaps), dtype=counted.dtype, device=counted.device)
    reached = counted[None] >= asked[:, None, None]
    accuracy = reached.to(counted.dtype).mean(dim=1)
    used = torch.tensor(list(thresholds), dtype=counted.dtype, device=counted.device)
    return BoxAccuracy(used, asked, accuracy, len(counted))
