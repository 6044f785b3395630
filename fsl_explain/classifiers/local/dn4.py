"""Image to class: each cell of the query is compared with the nearest of all cells of a class.

Source: DN4, Li et al., "Revisiting Local Descriptor Based Image-To-Class Measure for Few-Shot Learning", 2019, Eq. 2,
and its published code: cosine similarities, three neighbors, summed over cells and neighbors.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.classifiers.local.rule import LocalRule, without_padding
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.pair_form import PairForm


@dataclass(frozen=True)
class DN4(LocalRule):
    """Σ_p Σ_{r in the n nearest of the class} s(x_p, y_r), over the cells of all its supports together.

    From -n·P to n·P for P cells and the cosine. ``neighbors`` is n; of a class with fewer cells all are neighbors.
    ``channels`` is as ``LocalRule`` says.

    Raises: ``ValueError`` for an n below 1.
    """

    neighbors: int = 3

    holds_frozen: ClassVar[str] = "which cells of a class are the nearest to each cell of the query"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbors < 1:
            raise Mistake(f"DN4 needs at least one neighbor, but neighbors is {self.neighbors}; use 3, as the paper.")

    def scored(
        self, query: Float[Tensor, "query flat"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "query way"]:
        """Add the similarities of the nearest cells up."""
        pooled = self._by_class(query, supports, similarity)
        nearest = pooled.topk(min(self.neighbors, pooled.shape[-1]), dim=-1).values
        return nearest.masked_fill(nearest.isneginf(), 0).sum(dim=(-2, -1))

    def frozen(self, query: Float[Tensor, "*batch flat"], supports: SupportSet, similarity: Similarity) -> PairForm:
        """Weigh by 1 the pairs of each cell and its neighbors, in whichever supports of the class these are."""
        pooled = self._by_class(query, supports, similarity)
        places = pooled.topk(min(self.neighbors, pooled.shape[-1]), dim=-1).indices
        chosen = torch.zeros_like(pooled).scatter_(-1, places, 1).masked_fill(pooled.isneginf(), 0)
        by_support = chosen.unflatten(-1, (supports.valid.shape[-1], -1)).movedim(-2, -3)
        return self.paired(by_support, query, supports, similarity)

    def _by_class(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> Tensor:
        """Return each query cell's similarities (…, way, p, shot · r) to all cells of a class."""
        table = without_padding(self.table(query, supports, similarity), supports.valid, -torch.inf)
        return table.movedim(-3, -2).flatten(start_dim=-2)


NEAREST_CELLS = DN4()
