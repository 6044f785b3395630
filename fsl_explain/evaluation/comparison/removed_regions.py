"""The network asked what really happens when regions of queries are removed: once, for all methods.

Supports, target and rivals stay those of the whole image; the class scores of a changed image come from the decision's
own code. So one pass serves every method, whichever number of the decision it explains.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.batches import slices
from fsl_explain.classifiers import combined
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.comparison.decisions import ComparedDecisions
from fsl_explain.evaluation.removal import RemovedSets
from fsl_explain.metrics.derived_seed import derived_seed
from fsl_explain.registries import REMOVALS


@dataclass(frozen=True)
class RegionRemovals:
    """Which regions are removed from every image, and how.

    Raises: ``ValueError`` for a number that leaves nothing to compare; ``LookupError`` for no name in ``REMOVALS``.
    """

    grid: int = 7  # regions a side: 7 makes 49 of them, 14 makes 196
    draws: int = 60  # random sets of regions
    pairs: int = 1  # random orders with their reverse, for Shapley values
    removal: str = "blur"  # what removed pixels become
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("grid", 2), ("draws", 3), ("pairs", 1)):
            if getattr(self, name) < least:
                raise Mistake(f"expected {name} of at least {least} for removals, but got {getattr(self, name)}.")
        REMOVALS.checked(self.removal)

    @property
    def regions(self) -> int:
        """How many regions an image has."""
        return self.grid * self.grid

    @property
    def passes(self) -> dict[str, int]:
        """How often the network is asked for one image, by what is asked."""
        return {"random": self.draws, "single": self.regions, "shapley": 2 * self.pairs * self.regions}


@dataclass(frozen=True)
class RemovedRegions:
    """What every class scores when regions of queries are removed; kept by query, so that methods share it."""

    encoder: Encoder
    decisions: ComparedDecisions
    removals: RegionRemovals = RegionRemovals()
    batch_size: int = 16  # images in one forward pass
    kept: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def random(self, places: Int[Tensor, "batch"], weights: Float[Tensor, "batch way"]) -> RemovedSets:
        """Remove random sets of regions; ``weights`` of the class scores make the number that is explained."""
        sets = self._of_each(places, self._random_sets)
        return RemovedSets(sets, self._drops("random", places, sets, weights))

    def single(self, places: Int[Tensor, "batch"], weights: Float[Tensor, "batch way"]) -> RemovedSets:
        """Remove one region at a time."""
        sets = metrics.each_alone(len(places), self.removals.regions)
        return RemovedSets(sets, self._drops("single", places, sets, weights))

    def shapley(self, places: Int[Tensor, "batch"], weights: Float[Tensor, "batch way"]) -> RemovedSets:
        """Remove all regions one by one in random orders; the drops are then Shapley values of single regions."""
        orders = self._of_each(places, self._random_orders)
        sets = metrics.sets_along(orders)
        drops = self._drops("shapley", places, sets.flatten(1, 2), weights).reshape(sets.shape[:3])
        alone = metrics.each_alone(len(places), self.removals.regions)
        return RemovedSets(alone, metrics.shapley_values(orders, drops))

    def _random_sets(self, drawing: torch.Generator) -> Bool[Tensor, "draw region"]:
        return metrics.random_sets(self.removals.draws, self.removals.regions, drawing)

    def _random_orders(self, drawing: torch.Generator) -> Int[Tensor, "order region"]:
        return metrics.random_orders(self.removals.pairs, self.removals.regions, drawing)

    def _of_each(self, places: Int[Tensor, "batch"], draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(self._drawing(place)) for place in places.tolist()])

    def _drawing(self, place: int) -> torch.Generator:
        """Return the chance of one query, the same whatever else is measured."""
        image = int(self.decisions.queries[place])
        return torch.Generator().manual_seed(derived_seed("removals", self.removals.seed, image))

    def _drops(
        self,
        kind: str,
        places: Int[Tensor, "batch"],
        sets: Bool[Tensor, "batch set region"],
        weights: Float[Tensor, "batch way"],
    ) -> Float[Tensor, "batch set"]:
        """Return what the explained number of each query loses with each set.

        Each query's images are embedded without another's, so that its numbers depend on no other.
        """
        for number, place in enumerate(places.tolist()):
            if (kind, place) not in self.kept:
                self.kept[kind, place] = self._scores(places[number : number + 1], sets[number : number + 1])[0]
        left = torch.stack([self.kept[kind, place] for place in places.tolist()])
        whole = combined(weights, self.decisions.scores[places])
        return whole[:, None] - combined(weights[:, None], left)

    def _scores(
        self, places: Int[Tensor, "batch"], sets: Bool[Tensor, "batch set region"]
    ) -> Float[Tensor, "batch set way"]:
        """Embed every query without every set of regions, ``batch_size`` images at a time."""
        store, queries = self.decisions.store, self.decisions.queries
        images = store.images(store.row_of[queries[places]])
        others = store.images(store.row_of[queries[self._others(places)]])
        replaced = metrics.replacement(images, others, self.removals.removal)
        owner = torch.arange(len(places)).repeat_interleave(sets.shape[1])
        gone, found = sets.flatten(0, 1), []
        for part in slices(len(owner), self.batch_size):
            rows = owner[part]
            changed = metrics.without_regions(images[rows], gone[part], replaced[rows])
            found.append(self.decisions.scores_of(self.encoder(changed).embedding.cpu().double()))
        return torch.cat(found).reshape(*sets.shape[:2], -1)

    def _others(self, places: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """Return another query for each, whose patches may replace its own."""
        count = len(self.decisions.queries)
        if count == 1:
            return places
        further = [int(torch.randint(1, count, (), generator=self._drawing(place))) for place in places.tolist()]
        return (places + torch.tensor(further)) % count
