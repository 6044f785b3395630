"""Occlusion: what the score loses when a square of the query is hidden, as SBSM slides it over the image.

Source: Dong, Collins, Hoogs, "Explainability for Content-Based Image Retrieval", 2019 (SBSM, similarity-based saliency
maps), for any decision's score. Squares begin outside of the image, so that border pixels are hidden as often as
others; an increase of the score counts as no drop.
"""

from dataclasses import dataclass
from functools import partial, reduce
from operator import add

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.position import position
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import masked_scores, pixels_of, ranges
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.methods.mask_statistics import MaskSums, mask_sums
from fsl_explain.explainers.question import Question


@dataclass(frozen=True, kw_only=True)
class OcclusionOptions:
    """The square that is hidden and the step it moves by, in pixels.

    ``window`` is the square's side, a seventh of the image's shorter side if None, but no less than the step.
    ``stride`` is the step, half of the window if None. ``batch_size`` images are in one forward pass.

    Raises: ``ValueError`` for numbers below 1, or steps that would leave pixels out; ``TypeError`` for a fraction.
    """

    window: int | None = None
    stride: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("window", "stride", "batch_size"):
            value = getattr(self, name)
            if value is not None and position(value, f"{name} as a whole number") < 1:
                raise Mistake(f"occlusion needs {name} of at least 1, but got {value}; raise it.")
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise Mistake(
                f"expected a stride of at most the window, so that every pixel is hidden, but got a window of "
                f"{self.window} and a stride of {self.stride}; lower stride."
            )

    def window_and_stride(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return both for an image of this size (height, width); an unnamed window grows to a larger stride."""
        window = self.window or max(1, min(size) // 7, self.stride or 1)
        return window, self.stride or max(1, window // 2)


def window_corners(size: tuple[int, int], window: int, stride: int) -> Int[Tensor, "window 2"]:
    """Return the top and left of every square, row by row; the first ones lie partly outside of the image."""
    rows, columns = (torch.arange(stride - window, pixels, stride) for pixels in size)
    return torch.stack([rows.repeat_interleave(len(columns)), columns.repeat(len(rows))], dim=1)


def hidden_pixels(
    corners: Int[Tensor, "window 2"], window: int, size: tuple[int, int]
) -> Float[Tensor, "window height width"]:
    """Mark with 1 the pixels inside each square."""
    inside = [
        (torch.arange(pixels) >= first[:, None]) & (torch.arange(pixels) < first[:, None] + window)
        for pixels, first in zip(size, corners.T, strict=True)
    ]
    hidden: Tensor = inside[0][:, :, None] & inside[1][:, None, :]
    return hidden.double()


def occlusion_method(options: OcclusionOptions | None = None) -> Method:
    """Make a method of a square and a step, ``OcclusionOptions()`` if None, to be given to ``explain``.

    Its cells are the pixels of the image: what the score loses on average while a square hides them, in its unit and
    never below 0. The saliency is rescaled to at most 1. It has no contributions.

    Source: Dong, Collins, Hoogs, "Explainability for Content-Based Image Retrieval", 2019 (SBSM).
    """
    found = partial(_attribute, options=options or OcclusionOptions())
    return Method(found, attribute_supports, saliency, perturbs=True, name="occlusion")


def _attribute(question: Question, options: OcclusionOptions) -> Attribution:
    """Average at every pixel the drops of the squares that hide it; no channel is accounted for."""
    maps = question.query.maps
    undefined = question.undefined
    cells = _drops(question, options).mean
    return Attribution(undefined, cells.reshape(*maps.shape[:-3], *cells.shape[-2:]).to(maps), undefined[..., 0])


def _drops(question: Question, options: OcclusionOptions) -> MaskSums:
    height, width = pixels_of(question).images.shape[-2:]
    score = question.explained.value.reshape(-1)
    window, stride = options.window_and_stride((height, width))
    corners = window_corners((height, width), window, stride)

    def under(numbers: range) -> MaskSums:
        hidden = hidden_pixels(corners[numbers.start : numbers.stop], window, (height, width)).to(score.device)
        return mask_sums(
            (score - masked_scores(question, (1 - hidden)[:, None], options.batch_size)).clamp(min=0), hidden
        )

    return reduce(add, map(under, ranges(len(corners), max(1, options.batch_size // len(score)))))


OCCLUSION = occlusion_method()
