"""The way back from the last maps: the steps that lie behind the finer ones, and the walk through them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from fsl_explain.heads.finest_grid import on_grid
from fsl_explain.pullback.linear_steps import Linear, Normalizing
from fsl_explain.pullback.places import Grid, Place, doubled
from fsl_explain.pullback.recording import Recording
from fsl_explain.pullback.rules import PullbackRule
from fsl_explain.pullback.steps import Handing, Node, NotFollowed, Step, Values, Walk

LARGER = 1.5  # times the sides that were asked for; a grid beyond is brought to these


@dataclass(frozen=True)
class WayBack:
    """The steps from the last maps back to finer ones, the last first."""

    last: Node
    steps: tuple[Step, ...]
    grid: Grid
    sources: tuple[Node, ...]  # where relevance ends

    def walk(
        self, relevance: Float[Tensor, "image channel h w"], values: Values, rule: PullbackRule
    ) -> tuple[Float[Tensor, "image _h _w"], Float[Tensor, "image _h _w"]]:
        """Carry relevance of the last maps back; return what arrives at finer maps, and what is left on the way.

        Both lie on the finer grid; what a step leaves is spread evenly over the finer cells below its own. Queries of
        the same images stand before each other: image i of query q is in row q · images + i.

        Raises: ``NotFollowed`` where it comes to an operation that cannot be followed.
        """
        count = len(relevance)
        walk = Walk(values, rule, count)
        waiting = {self.last: relevance}
        arrived, left = relevance.new_zeros(count, *self.grid), relevance.new_zeros(count, *self.grid)
        for step in self.steps:
            given = waiting.pop(step.output, None)
            if given is None:
                continue
            handed = step.back(given, walk)
            for node, part in zip(step.inputs, handed.inputs, strict=True):
                if node.is_source:
                    arrived = arrived + self._placed(part, node.place, count)
                else:
                    waiting[node] = part if node not in waiting else waiting[node] + part
            if handed.left is not None and step.output.place is not None:
                left = left + self._placed(handed.left, step.output.place, count)
        return arrived, left

    def _placed(self, values: Tensor, place: Place | None, count: int) -> Float[Tensor, "image h w"]:
        assert place is not None  # of a source, and of what leaves something
        return on_grid(place.cells(values, count), self.grid)


def way_back(recording: Recording, maps: Tensor, rule: PullbackRule) -> tuple[WayBack, tuple[int, ...]]:
    """Return the way back from maps that a recorded forward pass made, and which of its values it needs.

    Raises: ``NotFollowed`` where the maps were made by an operation that cannot be followed, or a value was
    overwritten that the way back needs.
    """
    last = recording.node(maps)
    if last is None or last.shape[0] != 1:
        raise NotFollowed(recording.calls, "what makes the maps")
    reached, steps = {last}, list[Step]()
    for step in reversed(recording.steps):
        if step.output in reached and not step.output.is_source:
            reached.update(step.inputs)
            steps.append(step)
    steps = _folded(steps) if rule.reads_biases else [_handing(step) for step in steps]
    for kept, version in recording.versions:
        if kept._version != version and any(_reads(step, kept, recording) for step in steps):
            raise NotFollowed(recording.calls, "an operation that overwrites what another one has read")
    needed = sorted({number for step in steps for number in step.kept})
    new_number = {old: new for new, old in enumerate(needed)}
    sources = tuple(node for node in reached if node.is_source)
    asked = doubled(recording.fineness.last, recording.fineness.detail)
    return (
        WayBack(last, tuple(_renumbered(step, new_number) for step in steps), _grid(reached, asked), sources),
        tuple(needed),
    )


def _grid(reached: set[Node], asked: Grid) -> Grid:
    """Return the grid of the finer maps: their own, if it is about what was asked for."""
    grids = [node.place.grid for node in reached if node.is_source and node.place is not None]
    if not grids:
        return asked
    own = min(grids)
    return own if all(have <= LARGER * want for have, want in zip(own, asked, strict=True)) else asked


def _folded(steps: Sequence[Step]) -> list[Step]:
    """Make one layer of each convolution and the batch normalization that alone reads it."""
    readers: dict[Node, int] = {}
    for step in steps:
        for node in step.inputs:
            readers[node] = readers.get(node, 0) + 1
    makers = {step.output: step for step in steps}
    folded: dict[Node, Step] = {}
    gone: set[Node] = set()
    for step in steps:
        maker = makers.get(step.inputs[0]) if isinstance(step, Normalizing) else None
        if isinstance(step, Normalizing) and _folds(maker) and readers[step.inputs[0]] == 1:
            assert isinstance(maker, Linear)  # it folds
            folded[step.output] = maker.with_normalization(step.normalization, step.output)
            gone.add(maker.output)
    return [folded.get(step.output, step) for step in steps if step.output not in gone]


def _handing(step: Step) -> Step:
    """Return batch normalization as what it is under rules that give biases nothing, which keeps no values."""
    return Handing(step.inputs, step.output) if isinstance(step, Normalizing) else step


def _folds(maker: Step | None) -> bool:
    return isinstance(maker, Linear) and maker.weight is not None and maker.weight.dim() > 2


def _reads(step: Step, value: Tensor, recording: Recording) -> bool:
    return any(recording.values[number].data_ptr() == value.data_ptr() for number in step.kept)


def _renumbered(step: Step, number: dict[int, int]) -> Step:
    names = ("values", "kept_weight", "share", "indices")
    held = {name: number[old] for name in names if (old := getattr(step, name, None)) is not None}
    return replace(step, **held)  # type: ignore[arg-type] # fields of this kind of step
