"""Forward passes that are written down, so that their last maps can be drawn finer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.devices import at_hand
from fsl_explain.pullback.beginning import Beginning, last_before, noted_beginnings, watching
from fsl_explain.pullback.finer_maps import FinerMaps, Manner, Recorded
from fsl_explain.pullback.module_names import module_at
from fsl_explain.pullback.operations import layers, moves, single_values  # noqa: F401 # they enter a table
from fsl_explain.pullback.places import Grid, finer_than
from fsl_explain.pullback.program import WayBack, way_back
from fsl_explain.pullback.recording import Fineness, Recording, recorded
from fsl_explain.pullback.replay import Program, Replay
from fsl_explain.pullback.rules import PullbackRule
from fsl_explain.pullback.steps import Node, NotFollowed

BIASES = ("drawn", "apart")
KEPT_BYTES = 512 * 2**20
"""What the values of a batch may take; beyond, only its images are kept, and run again."""

PROGRAMS = 16
"""Sizes of batches of which forward passes are remembered."""

MapsOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Remembered:
    """A forward pass that later ones of its size are compared with."""

    program: Program
    way: WayBack
    beginning: Beginning | None  # from where they are watched; None: from their first operation


@runtime_checkable
class Run(Protocol):
    """How a forward pass is run: images go where the network is, and other threads wait."""

    def __call__(self, forward: Callable[[Tensor], Any], images: Tensor) -> Any:
        """Call a forward pass with placed images."""
        ...


@dataclass(frozen=True)
class Wanted:
    """How fine maps shall be: doublings of the grid, what is done with biases, and the rule of linear layers.

    Raises: ``ValueError`` or ``LookupError`` for what is not one of these.
    """

    detail: int
    biases: str
    rule: PullbackRule

    def __post_init__(self) -> None:
        if isinstance(self.detail, bool) or not isinstance(self.detail, Integral) or self.detail < 1:
            raise Mistake(
                f"expected detail as a whole number, how often the grid is doubled, but got {self.detail!r}; use 0 for "
                "the network's last maps."
            )
        expect_way_with_biases(self.biases)
        object.__setattr__(self, "detail", int(self.detail))

    @property
    def words(self) -> str:
        """Say it in a page: ``detail 1, biases apart``."""
        return f"detail {self.detail}, biases {self.biases}"


def expect_way_with_biases(biases: object) -> None:
    """Refuse what is not in ``BIASES``. Raises: ``LookupError``."""
    if biases not in BIASES:
        raise unknown_name("way with biases", str(biases), BIASES)


class Detail:
    """Reads maps with all that is needed to draw them finer; keeps, for each size of images, how that is done."""

    def __init__(self, wanted: Wanted, description: str, network: nn.Module) -> None:
        """Begin with no size known."""
        self.wanted: Wanted = wanted
        self.description: str = description
        self.network: nn.Module = network
        self._manners: dict[tuple[int, ...], Manner] = {}
        self._programs: dict[tuple[Any, ...], Remembered | None] = {}  # None: passes are not alike

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was learned of forward passes: it runs this very network, and a copy has another one."""
        return self.__dict__ | {"_manners": {}, "_programs": {}}

    def read(
        self, run: Run, again: Run, maps_of: MapsOf, images: Tensor
    ) -> tuple[Float[Tensor, "batch channel h w"], FinerMaps]:
        """Return the last maps of images, and what draws them finer; ``again`` runs the network later.

        Raises: ``ValueError`` for a detail beyond the images themselves, and for a network that cannot be followed,
        with the name of the module.
        """
        later = self.later(again, maps_of, images)
        if len(images) * later.manner.bytes_each > KEPT_BYTES:
            maps: Tensor = run(maps_of, images)
            return maps, later
        maps, found = self._recorded(run, maps_of, images, later.manner.last, later.manner.sources)
        return maps, FinerMaps(later.manner, later.images, found.way, found.values)

    def later(self, run: Run, maps_of: MapsOf, images: Tensor) -> FinerMaps:
        """Return what draws the last maps of images finer, which are run when it is asked to. Raises: as ``read``."""
        size = tuple(images.shape[1:])
        if size not in self._manners:
            self._manners[size] = self._manner(run, maps_of, images[:1].detach())
        return FinerMaps(self._manners[size], images.detach())

    def _manner(self, run: Run, maps_of: MapsOf, image: Tensor) -> Manner:
        """Find out, with one image, how maps of its size are made finer, and that they can be."""
        maps: Tensor = run(maps_of, image)
        last, pixels = (maps.shape[-2], maps.shape[-1]), (image.shape[-2], image.shape[-1])
        most = 0
        while finer_than(pixels, last, most + 1):
            most += 1
        if self.wanted.detail > most:
            raise Mistake(
                f"expected a detail of at most {most} for maps of {last[0]}×{last[1]} cells of images of "
                f"{pixels[0]}×{pixels[1]} pixels, but got {self.wanted.detail}."
            )
        _, found = self._recorded(run, maps_of, image, last)
        sources = found.way.sources

        def again(images: Tensor) -> Recorded:
            return self._recorded(run, maps_of, images, last, sources)[1]

        is_apart = self.wanted.biases == "apart"
        manner = Manner(self.wanted.rule, is_apart, last, found.way.grid, found.bytes_each(), sources, again)
        shares = at_hand(maps)
        try:
            FinerMaps(manner, image, found.way, found.values).drawn(shares, shares.new_ones(1, 1, 1))
        except NotFollowed as error:
            raise self._refusal(error, run, maps_of, image) from error
        return manner

    def _recorded(
        self, run: Run, maps_of: MapsOf, images: Tensor, last: Grid, begins_at: tuple[Node, ...] = ()
    ) -> tuple[Tensor, Recorded]:
        fineness = Fineness(last, self.wanted.detail)
        maps: Tensor
        try:
            maps, (way, values) = run(partial(self._forward, maps_of, fineness, begins_at), images)
        except NotFollowed as error:
            raise self._refusal(error, run, maps_of, images[:1]) from error
        return maps, Recorded(way, values, len(images))

    def _forward(
        self, maps_of: MapsOf, fineness: Fineness, begins_at: tuple[Node, ...], placed: Tensor
    ) -> tuple[Tensor, tuple[WayBack, tuple[Tensor, ...]]]:
        size = (tuple(placed.shape), placed.dtype, placed.device)
        known = self._programs.get(size) if begins_at else None
        if known is not None:
            replay = Replay(known.program, len(placed))
            with watching(replay, known.beginning):
                maps = maps_of(placed)
            found = replay.values(maps)
            if found is not None:
                return maps, (known.way, found)
        with recorded(placed, fineness, begins_at) as recording, self._noted(recording, begins_at, size) as beginnings:
            maps = maps_of(placed)
        if not recording.has_begun:  # this forward pass does other operations than the first one did
            return self._forward(maps_of, fineness, (), placed)
        way, needed = way_back(recording, maps, self.wanted.rule)
        if begins_at and size not in self._programs:
            self._remember(size, recording.program(way.last, needed), way, beginnings)
        elif known is not None:  # not the same operations: neither will the next pass be
            self._programs[size] = None
        return maps, (way, tuple(recording.values[number] for number in needed))

    def _noted(
        self, recording: Recording, begins_at: tuple[Node, ...], size: tuple[Any, ...]
    ) -> AbstractContextManager[list[Beginning]]:
        """Write down where modules begin in a pass that will be remembered."""
        if begins_at and size not in self._programs:
            return noted_beginnings(self.network, lambda: recording.calls)
        return nullcontext([])

    def _remember(
        self, size: tuple[Any, ...], program: Program | None, way: WayBack, beginnings: list[Beginning]
    ) -> None:
        """Keep what later passes of as many images of this size are compared with."""
        while len(self._programs) >= PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        beginning = None if program is None else last_before(beginnings, min(program.sources))
        self._programs[size] = None if program is None else Remembered(program, way, beginning)

    def _refusal(self, error: NotFollowed, run: Run, maps_of: MapsOf, image: Tensor) -> Mistake:
        found = run(lambda placed: module_at(self.network, error.call, partial(maps_of, placed)), image)
        where = "" if found is None else f" of the module {found}"
        return Mistake(
            f"{self.description}: expected a network that can be followed back to finer maps, but relevance comes to "
            f"{error.operation}{where}, which it cannot pass; use a lower detail, or detail=0."
        )
