"""What stands at a cell of the query though no map wrote it: the part of a comparison that the supports made there."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.question import Question
from fsl_explain.similarities import AnyForm, PairForm


def placed_at(
    form: AnyForm, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot flat"]
) -> Float[Tensor, "*batch cell channel"] | None:
    """Return what a decision holds at each cell of the query beside what its maps wrote; None: nothing."""
    found = form.at_cells(supports) if isinstance(form, PairForm) else None
    return None if found is None else (weights[..., None, None] * found).sum(dim=(-4, -3))


def by_channel(placed: Float[Tensor, "*batch cell channel"], maps: int) -> Float[Tensor, "*batch map"]:
    """Sum over cells; where a head lies between maps and local features, every map has an equal part of it."""
    summed: Tensor = placed.sum(dim=-2)
    if placed.shape[-1] == maps:
        return summed
    shared: Tensor = (summed.sum(dim=-1, keepdim=True) / maps).expand(*summed.shape[:-1], maps)
    return shared


def on_grid(
    placed: Float[Tensor, "*batch cell channel"], question: Question, cells: Float[Tensor, "*batch h w"]
) -> Float[Tensor, "*batch h w"]:
    """Sum over channels, on the grid of the cells; each finer cell has an equal part of the one it lies in."""
    rows, columns = question.query.maps.shape[-2:]
    coarse: Tensor = placed.sum(dim=-1).unflatten(-1, (rows, columns)).to(cells.dtype)
    if coarse.shape == cells.shape:
        return coarse
    height, width = cells.shape[-2:]
    enlarged = F.interpolate(coarse.reshape(-1, 1, rows, columns), size=(height, width), mode="nearest")
    share = F.interpolate(
        1 / F.interpolate(coarse.new_ones(1, 1, height, width), size=(rows, columns), mode="area"),
        size=(height, width),
        mode="nearest",
    ) * (rows * columns / (height * width))
    finer: Tensor = (enlarged * share).reshape(cells.shape)
    return finer
