"""An annotated box as it lies on a picture of any size."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class BoxView:
    """An annotated box in percent of the picture."""

    left: float
    top: float
    width: float
    height: float


def box_view(box: Float[Tensor, "4"] | None, height: int, width: int) -> BoxView | None:
    """Return a box x1 y1 x2 y2 in pixels of an image in percent of it; None for none, or one of NaN."""
    if box is None or not bool(box.isfinite().all()):
        return None
    left, top, right, bottom = box.tolist()
    return BoxView(100 * left / width, 100 * top / height, 100 * (right - left) / width, 100 * (bottom - top) / height)
