"""One relevance of the last maps, drawn at every detail: one way back for each rule serves all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.question import Question
from fsl_explain.finer import Drawn, Finer
from fsl_explain.heads.finest_grid import on_grid
from fsl_explain.pullback.finer_maps import FinerMaps
from fsl_explain.pullback.places import Place, doubled
from fsl_explain.pullback.program import WayBack
from fsl_explain.pullback.recording import Fineness
from fsl_explain.pullback.rules import PullbackRule
from fsl_explain.pullback.steps import Values, Walk


@dataclass
class Caught(Finer):
    """What a method would draw finer: the relevance of the last maps. It draws nothing itself."""

    last: tuple[int, int]
    relevance: list[Tensor] = field(default_factory=list)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the last maps."""
        return self.last

    @property
    def is_apart(self) -> bool:
        """Say that all of it has a place."""
        return False

    def drawn(self, shares: Tensor, factors: Tensor) -> Drawn:
        """Keep the relevance, and draw the cells of the last maps."""
        self.relevance.append(shares * factors)
        return Drawn(self.relevance[-1].sum(dim=-3), None)


def caught(method: Method, question: Question) -> tuple[Attribution, Float[Tensor, "image channel h w"]]:
    """Return what a method answers on the last maps, and the relevance of each of their cells and channels."""
    grid = (question.query.maps.shape[-2], question.query.maps.shape[-1])
    catching = Caught(grid)
    answer = method.attribute(replace(question, query=replace(question.query, finer=catching)))
    return answer, catching.relevance[0].expand(question.query.maps.shape)


def at_all_details(
    finer: FinerMaps, relevance: Float[Tensor, "query image channel h w"]
) -> dict[int, tuple[Float[Tensor, "query image _h _w"], Float[Tensor, "query image _h _w"]]]:
    """Return for each detail, up to that of the recorded way, what arrives at its cells, and what is left on the way.

    Each is what the way back of that detail alone gives: relevance that crosses to a tensor as fine as that is read
    off, and goes on to finer ones.
    """
    way, images = finer.way, len(finer.images)
    assert way is not None  # a batch that is small enough to be kept
    with torch.no_grad():
        floats = [value for value in finer.values if value.is_floating_point()]
        flat = relevance.flatten(0, 1).to(torch.promote_types(floats[0].dtype, torch.float32))
        found = _walked(way, flat, Values(finer.values, images), finer.manner.rule)
    return {
        detail: (arrived.unflatten(0, (-1, images)), left.unflatten(0, (-1, images)))
        for detail, (arrived, left) in found.items()
    }


def _walked(way: WayBack, relevance: Tensor, values: Values, rule: PullbackRule) -> dict[int, tuple[Tensor, Tensor]]:
    last, count = way.last.place.grid, len(relevance)
    deepest = max(detail for detail in range(1, 9) if doubled(last, detail)[0] <= way.grid[0])
    ends = {detail: Fineness(last, detail) for detail in range(1, deepest + 1)}
    found = {detail: [relevance.new_zeros(count, *doubled(last, detail)) for _ in range(2)] for detail in ends}
    walk, waiting = Walk(values, rule, count), {way.last: relevance}
    within = {way.last: [*ends]}  # the details whose way back has not ended before a tensor

    def put(kind: int, part: Tensor, place: Place, details: Sequence[int]) -> None:
        cells = place.cells(part, count)
        for detail in details:
            found[detail][kind] += on_grid(cells, doubled(last, detail))

    for step in way.steps:
        given = waiting.pop(step.output, None)
        if given is None:
            continue
        handed, open_ones = step.back(given, walk), within[step.output]
        for node, part in zip(step.inputs, handed.inputs, strict=True):
            reached = node.place is not None
            arrives = [one for one in open_ones if node.is_source or (reached and ends[one].reached(node.place.grid))]
            goes_on = [one for one in open_ones if one not in arrives]
            if arrives:
                put(0, part, node.place, arrives)
            if not node.is_source:
                if within.setdefault(node, goes_on) != goes_on:
                    raise ValueError(
                        "expected every path to a tensor to cross the same grids; draw details one by one."
                    )
                waiting[node] = part if node not in waiting else waiting[node] + part
        if handed.left is not None and step.output.place is not None:
            put(1, handed.left, step.output.place, open_ones)
    return {detail: (arrived, left) for detail, (arrived, left) in found.items()}
