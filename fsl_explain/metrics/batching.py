"""A few maps at a time: the pixels of a few stay in the cache of a processor between the steps of a metric."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.batches import slices

PIXELS_AT_ONCE = 8 * 224 * 224

Metric = TypeVar("Metric", bound=Callable[..., Tensor])


def a_few_at_a_time(metric: Metric) -> Metric:
    """Let a metric of independent maps see ``maps_at_once`` of a batch at a time; the figures stay the same.

    Every further tensor is a mask for each map. Twice as fast on a processor, and the memory beyond the maps does not
    grow with the batch.

    Raises: ``ValueError`` for another number of masks than of maps; ``TypeError`` for a mask that is not boolean.
    """

    @wraps(metric)
    def in_pieces(saliency: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                check_masks(saliency, value)
        size = maps_at_once(saliency)
        if len(saliency) <= size or saliency.device.type != "cpu":
            return metric(saliency, *args, **kwargs)
        pieces = [*slices(len(saliency), size)]
        return torch.cat(
            [
                metric(
                    saliency[piece],
                    *(_part(value, piece) for value in args),
                    **{name: _part(value, piece) for name, value in kwargs.items()},
                )
                for piece in pieces
            ]
        )

    return cast("Metric", in_pieces)


def maps_at_once(saliency: Float[Tensor, "batch height width"]) -> int:
    """Return how many maps of this size are measured at once: 8 of 224×224."""
    return max(1, PIXELS_AT_ONCE // max(1, saliency.shape[1] * saliency.shape[2]))


def check_masks(saliency: Tensor, masks: Tensor) -> None:
    """Raise ValueError for another number of masks than of maps, and TypeError for masks that are not boolean."""
    check_one_each(saliency, masks, "mask")
    # The complement of an integer 1 is -2.
    if masks.dtype != torch.bool:
        raise WrongType(f"expected boolean masks, but got {masks.dtype}; say what is inside, such as masks > 0.")


def check_one_each(saliency: Tensor, targets: Tensor, name: str) -> None:
    """Raise ValueError for another number of targets, masks or boxes, than of maps."""
    if len(targets) != len(saliency):
        raise Mistake(f"expected one {name} a map, {len(saliency)} of them, but got {len(targets)}; pair them.")


def _part(value: Any, piece: slice) -> Any:
    return value[piece] if isinstance(value, Tensor) else value
