"""Maps that look at nothing: what any explainer has to beat before its figures mean something."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.normalization import min_max_map, upsample
from fsl_explain.explainers.question import Question

Draw = Callable[[int, int], Tensor]
"""From a height and a width to a map."""

ORDERED_CHANNELS = 5
"""Their order numbers images: with up to 4,096 channels the number fits into 63 bits."""


def all_ones(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return the map that keeps every pixel: it wins average drop, and says nothing."""
    return torch.ones(height, width)


def centered_gaussian(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return a Gaussian at the center whose standard deviation is a quarter of each side; its maximum is near 1."""
    rows = (torch.arange(height) - (height - 1) / 2) / (height / 4)
    columns = (torch.arange(width) - (width - 1) / 2) / (width / 4)
    return torch.exp(-(rows.square()[:, None] + columns.square()[None]) / 2)


def center_pixel(height: int, width: int) -> Float[Tensor, "height width"]:
    """Return the map of the one pixel at the center: as sparse as a map can be, and usually on the object."""
    pixel = torch.zeros(height, width)
    pixel[height // 2, width // 2] = 1
    return pixel


def random_cells(seed: int, height: int, width: int) -> Float[Tensor, "height width"]:
    """Return uniform noise, which is blurred when the cells are enlarged."""
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed), device="cpu")


def image_seeds(pooled: Float[Tensor, "*batch channel"]) -> Int[Tensor, "*batch"]:
    """Number images by the order of their strongest channels, which survives rounding."""
    order = pooled.topk(min(ORDERED_CHANNELS, pooled.shape[-1])).indices
    return (order * pooled.shape[-1] ** torch.arange(order.shape[-1], device=order.device)).sum(dim=-1)


def baseline(draw: Draw) -> Method:
    """Make a method of a map that depends on the size of the image alone; it has no contributions."""
    return Method(
        partial(_attribute, draw=draw),
        partial(_attribute_supports, draw=draw),
        partial(_saliency, draw=draw),
        uses_supports=False,
    )


def _attribute(question: Question, draw: Draw) -> Attribution:
    maps = question.query.maps
    undefined = question.undefined
    cells = draw(*maps.shape[-2:]).to(maps).expand(*maps.shape[:-3], *maps.shape[-2:])
    return Attribution(undefined, cells, undefined[..., 0])


def _attribute_supports(question: Question, draw: Draw) -> SupportAttribution:
    shape = (*question.target.shape, *question.supports.valid.shape[-2:], *question.query.maps.shape[-2:])
    cells = draw(*shape[-2:]).to(question.query.maps).expand(shape)
    return SupportAttribution(cells, cells.new_full(question.target.shape, float("nan")))


def _saliency(cells: Tensor, size: tuple[int, int], draw: Draw) -> Tensor:
    return draw(*size).to(cells).expand(*cells.shape[:-2], *size)


def attribute_at_random(question: Question) -> Attribution:
    """Return another noise for another image, and always the same one for the same."""
    pooled, maps = question.query.pooled, question.query.maps
    height, width = maps.shape[-2:]
    drawn = [random_cells(seed, height, width) for seed in image_seeds(pooled).flatten().tolist()]
    undefined = question.undefined
    return Attribution(
        undefined, torch.stack(drawn).to(maps).reshape(*maps.shape[:-3], height, width), undefined[..., 0]
    )


def attribute_supports_at_random(question: Question) -> SupportAttribution:
    """Return one noise for every support."""
    shape = (*question.target.shape, *question.supports.valid.shape[-2:], *question.query.maps.shape[-2:])
    cells = random_cells(0, *shape[-2:]).to(question.query.maps).expand(shape)
    return SupportAttribution(cells, cells.new_full(question.target.shape, float("nan")))


def random_saliency(cells: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch height width"]:
    """Enlarge bilinearly, then rescale to [0, 1]."""
    return min_max_map(upsample(cells, size))


ALL_ONES = baseline(all_ones)
CENTERED_GAUSSIAN = baseline(centered_gaussian)
CENTER_PIXEL = baseline(center_pixel)
RANDOM_BLURRED = Method(attribute_at_random, attribute_supports_at_random, random_saliency, uses_supports=False)
