"""Maps before the last ones, found by watching one forward pass, and what they have to do with the explained score.

No architecture is known and no layer is hooked. Of all that PyTorch's functions return while the network runs, maps are
those tensors that lie on the grid of the image and that every way from the last maps back to the pixels passes: behind
a residual connection, not inside of one. They are told by the graph that derivatives go back through.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from episodes.errors import Mistake
from fsl_explain.backbones.layouts import FIRST, LAST, in_order
from fsl_explain.explainers.methods.whole_network import expect_python, explained_score, maps_encoder, seen
from fsl_explain.explainers.question import Question
from fsl_explain.pullback.places import Grid, finer_than


@dataclass(frozen=True)
class Stage:
    """Maps of one fineness, the last of their grid, and the derivative of the explained scores at them."""

    maps: Float[Tensor, "image channel h w"]
    gradients: Float[Tensor, "image channel h w"]


class _Watching(TorchFunctionMode):
    """Keeps every tensor of four dimensions that a function returns in this thread, in order.

    Maps that were padded for the next layer are left out: some of their cells are no place of the image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.returned: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute, and keep what comes out."""
        outcome = func(*args, **(kwargs or {}))
        if isinstance(outcome, Tensor) and outcome.dim() == 4 and outcome.requires_grad and func is not F.pad:
            self.returned.append(outcome)
        return outcome


def stages(
    question: Question, images: Float[Tensor, "image color height width"], wanted: int | None = None
) -> Mapping[int, Stage]:
    """Return the earlier maps by how often the grid of the last ones is doubled in them; ``wanted`` alone, if there.

    Where strides skip a doubling, the next finer maps stand for it. Maps that are the image itself, of its size and
    with its channels, are left out.

    Raises: ``ValueError`` for an encoder at several scales, or a network that cannot be watched.
    """
    encoder = maps_encoder(question)
    if encoder.scales is not None:
        raise Mistake(
            f"this method reads the maps of one forward pass, but {encoder.description} sees each image more than "
            "once; use exact or contrast, or explain one scale at a time."
        )
    expect_python(question, "its maps")
    with _Watching() as watching:
        found = seen(question, images)
    assert found.maps is not None  # of one scale
    usual = LAST if encoder.reading.layout == LAST else FIRST
    every = _by_depth(watching.returned, found.maps, images, usual)
    chosen = {depth: one for depth, one in every.items() if wanted in (None, depth)}
    if not chosen:
        return {}
    score = explained_score(question, found)
    slopes = torch.autograd.grad(score, [values for values, _ in chosen.values()], allow_unused=True)
    source = f"a layer of {encoder.description}"
    return {
        depth: Stage(in_order(values.detach(), layout, source), in_order(slope, layout, source))
        for (depth, (values, layout)), slope in zip(chosen.items(), slopes, strict=True)
        if slope is not None
    }


def depth_of(grid: Grid, last: Grid) -> int:
    """Return how often the last grid is doubled in a finer one, where strides round up; 0 for one that is not finer."""
    depth = 0
    while finer_than(grid, last, depth + 1) and min(grid) > 2**depth * min(last):
        depth += 1
    return depth


def _by_depth(returned: list[Tensor], maps: Tensor, images: Tensor, usual: str) -> dict[int, tuple[Tensor, str]]:
    """Return the last maps of each depth above 0, and how they lie; a depth that is skipped gets the next finer."""
    assert maps.grad_fn is not None  # images are leaves of the graph
    passed = set(cuts(maps.grad_fn, get_gradient_edge(images).node))
    last = (maps.shape[-2], maps.shape[-1])
    found: dict[int, tuple[Tensor, str]] = {}
    for values in returned:
        lies = _layout(values, images, usual) if values.grad_fn in passed and len(values) == len(images) else None
        if lies is not None:
            found[depth_of(_sides(values, lies)[0], last)] = values, lies
    filled: dict[int, tuple[Tensor, str]] = {}
    for depth in range(max(found, default=0), 0, -1):
        filled[depth] = found[depth] if depth in found else filled[depth + 1]
    return filled


def _layout(values: Tensor, images: Tensor, usual: str) -> str | None:
    """Tell how maps lie by the proportions of their sides, the usual way first; None for what is no maps."""
    pixels = (images.shape[-2], images.shape[-1])
    for layout in dict.fromkeys((usual, FIRST, LAST)):
        grid, channels = _sides(values, layout)
        if _fits(grid, pixels):
            return None if (grid, channels) == (pixels, images.shape[1]) else layout
    return None


def _sides(values: Tensor, layout: str) -> tuple[Grid, int]:
    """Return the grid and the number of channels."""
    if layout == LAST:
        return (values.shape[1], values.shape[2]), values.shape[3]
    return (values.shape[2], values.shape[3]), values.shape[1]


def _fits(grid: Grid, pixels: Grid) -> bool:
    """Say whether a grid has the proportions of the image, up to what strides round away."""
    inside = all(1 <= have <= most for have, most in zip(grid, pixels, strict=True))
    return inside and abs(grid[0] * pixels[1] - grid[1] * pixels[0]) <= sum(pixels)


def cuts(end: Node, start: Node) -> Iterator[Node]:
    """Yield the nodes of a graph that every way from its end to its start passes, from the end on.

    A node is one where, in an order in which all come after what they lead from, nothing else is still open.
    """
    order, leads = _in_order(end), {start}
    for node in reversed(order):
        if any(before in leads for before, _ in node.next_functions):
            leads.add(node)
    opened = {end}
    for node in order:
        if node not in opened:
            continue
        if len(opened) == 1 and node in leads:
            yield node
        opened.discard(node)
        opened.update(before for before, _ in node.next_functions if before in leads)


def _in_order(end: Node) -> list[Node]:
    """Return the nodes of a graph, each before those that it leads to."""
    found: list[Node] = []
    visited, waiting = set[Node](), [(end, False)]
    while waiting:
        node, left = waiting.pop()
        if left:
            found.append(node)
        elif node not in visited:
            visited.add(node)
            waiting.append((node, True))
            waiting.extend((before, False) for before, _ in node.next_functions if before is not None)
    return found[::-1]
