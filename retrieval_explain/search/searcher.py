"""What proposes the rows that a search compares: an index of ours, or one that a server has."""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain.similarities import Similarity
from retrieval_explain.ranking.neighbors import Neighbors


@runtime_checkable
class Searcher(Protocol):
    """A search among a bank's rows that runs elsewhere.

    Law: what it returns was compared in float64 with the stored embeddings, and stands in the order of all searches.
    """

    @property
    def kind(self) -> str:
        """What it is called."""
        ...

    @property
    def similarity(self) -> str | Similarity:
        """By what it compares."""
        ...

    @property
    def settings(self) -> dict[str, int]:
        """How it was made, and how wide it searches."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether every row is compared here, so that nothing has to be measured."""
        ...

    def widened(self) -> "Searcher | None":
        """Return the same searched twice as widely, or None where it looks at everything already."""
        ...

    def search(
        self, queries: Float[Tensor, "query channel"], k: int, allowed: Bool[Tensor, "row"] | None = None
    ) -> Neighbors:
        """Return the k nearest rows of each query, of those that are ``allowed``."""
        ...
