"""The part of an encoder that draws its last maps finer."""

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.reading import Reading
from fsl_explain.backbones.tokens.reading import TokenReading
from fsl_explain.finer import Finer
from fsl_explain.pullback.detail import Detail, Wanted, expect_way_with_biases
from fsl_explain.pullback.finer_maps import FinerMaps
from fsl_explain.pullback.named import PULLBACKS
from fsl_explain.pullback.rules import PullbackRule

Found = TypeVar("Found")
Own = TypeVar("Own", bound="DrawnFiner")


class DrawnFiner:
    """What an encoder is that can carry the relevance of its last maps back into the network."""

    network: nn.Module
    description: str
    reading: Reading
    tokens: TokenReading | None
    detail: Detail | None = None
    single: Any = None  # the same encoder of images at one scale, where they are seen at several

    @abstractmethod
    def run(self, forward: Callable[[Tensor], Found], images: Tensor) -> Found:
        """Call a forward pass; an encoder says how."""

    def with_detail(self: Own, detail: int, biases: str = "drawn", pullback: str | PullbackRule = "abs") -> Own:
        """Return an encoder of the same network whose cells are drawn on a finer grid; decisions stay the same.

        Each step of ``detail`` doubles the grid of the last maps: 1 draws 14×14 cells for maps of 7×7, 2 draws 28×28;
        0 draws the last maps as they are. Each cell's exact addend, channel by channel, is carried back through the
        network to the first maps that are as fine, and all of it arrives or is accounted for: ``pullback``, a name such
        as ``gamma`` or a rule such as ``fsl_explain.pullback.rules.Gamma(0.1)``, says how linear layers split it. With
        ``biases="drawn"`` what biases take, and what cannot be split, lies at the cell where that happens, spread
        evenly over the finer ones; with ``apart`` it is one named part of the bias. A finer cell shows where what was
        decided by was read.

        Raises: ``ValueError`` or ``LookupError`` for options that are not there, and for an encoder whose cells are
        tokens; the first images show whether the network can be followed.
        """
        rule = PULLBACKS.find(pullback)
        expect_way_with_biases(biases)
        changed = copy(self)
        if self.single is not None:
            changed.single = self.single.with_detail(detail, biases, pullback)
            changed.detail = changed.single.detail
            return changed
        changed.detail = None
        if detail == 0 and not isinstance(detail, bool):
            return changed
        if self.tokens is not None:
            raise Mistake(
                f"{self.description}: expected a convolutional network for detail={detail}, but its cells are tokens, "
                "which no layer before has finer; use detail=0, or scales=."
            )
        changed.detail = Detail(Wanted(detail, biases, rule), self.description, self.network)
        return changed

    def finer(self, images: Tensor) -> Finer | None:
        """Return what draws the last maps of images finer, for images whose features are known; nothing is kept.

        None for an encoder without a detail. Raises: ``ValueError`` for a network that cannot be followed.
        """
        if self.detail is None:
            return None
        if self.single is not None:
            seen: Any = self
            found: Finer | None = seen(images).finer
            return found
        return self.detail.later(self._run_again, self.reading.maps_of_the_network, images)

    def _read_finer(self, images: Tensor) -> tuple[Tensor, FinerMaps | None]:
        if self.detail is None:
            return self.run(self.reading.maps, images), None
        return self.detail.read(self.run, self._run_again, self.reading.maps_of_the_network, images)

    def _run_again(self, forward: Callable[[Tensor], Any], images: Tensor) -> Any:
        with evaluating(self.network):
            return self.run(forward, images)
