"""Raw maps among the results of a part of a run: in half precision, under names of their own.

Cells are divided by the largest absolute value of their map, because contributions are often smaller than what half
precision tells apart.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.batches import slices
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import TRIVIAL

PREFIX = "map "
CELLS, SCALE, SALIENCY, QUERIES = "cells", "scale", "saliency", "queries"
AT_ONCE = 64  # maps that are enlarged together


def kept_maps(
    name: str,
    method: Method,
    cells: Float[Tensor, "query h w"],
    queries: Int[Tensor, "query"],
    size: tuple[int, int],
) -> dict[str, Tensor]:
    """Return a method's maps of some queries as results: cells, their scale, the saliency of ``size``, the queries.

    Trivial maps, which anyone can make again, are not kept.
    """
    if name in TRIVIAL or not len(queries):
        return {}
    largest = cells.abs().amax(dim=(1, 2)).double()
    scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1)
    saliency = [method.saliency(cells[part], size).half().cpu() for part in slices(len(cells), AT_ONCE)]
    found = {
        CELLS: (cells / scale[:, None, None]).half().cpu(),
        SCALE: scale.cpu(),
        SALIENCY: torch.cat(saliency),
        QUERIES: queries.cpu(),
    }
    return {f"{PREFIX}{name} {what}": values for what, values in found.items()}


def parted(result: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return results without maps, and the maps by ``method what``."""
    rest = {name: values for name, values in result.items() if not name.startswith(PREFIX)}
    maps = {name.removeprefix(PREFIX): values for name, values in result.items() if name.startswith(PREFIX)}
    return rest, maps
