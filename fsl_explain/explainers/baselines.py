"""Maps that look at nothing: what any explainer has to beat before its figures mean something."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.explanation import Attribution, Method, Question, SupportAttribution


def all_ones(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return the map that keeps every pixel: it wins average drop, and says nothing."""
    return torch.ones(height, width)


def centered_gaussian(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return a Gaussian at the center whose standard deviation is a quarter of each side; its maximum is near 1."""
    rows = (torch.arange(height) - (height - 1) / 2) / (height / 4)
    columns = (torch.arange(width) - (width - 1) / 2) / (width / 4)
    return torch.exp(-(rows.square()[:, None] + columns.square()[None]) / 2)


def baseline(draw: Callable[[int, int], Tensor]) -> Method:
    """Make a method of a map that depends on the size of the image alone; it has no contributions."""

    def attribute(question: Question) -> Attribution:
        pooled, maps = question.query.pooled, question.query.maps
        undefined = pooled.new_full(pooled.shape, float("nan"))
        cells = draw(*maps.shape[-2:]).to(maps).expand(*maps.shape[:-3], *maps.shape[-2:])
        return Attribution(undefined, cells, undefined[..., 0])

    def attribute_supports(question: Question) -> SupportAttribution:
        shape = (*question.target.shape, *question.supports.valid.shape[-2:], *question.query.maps.shape[-2:])
        cells = draw(*shape[-2:]).to(question.query.maps).expand(shape)
        return SupportAttribution(cells, cells.new_full(question.target.shape, float("nan")))

    def saliency(cells: Tensor, size: tuple[int, int]) -> Tensor:
        return draw(*size).to(cells).expand(*cells.shape[:-2], *size)

    return Method(attribute, attribute_supports, saliency, uses_supports=False)


ALL_ONES = baseline(all_ones)
CENTERED_GAUSSIAN = baseline(centered_gaussian)
