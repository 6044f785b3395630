import episodes.errors

from .centering import centered_on
from .decisions.explained_neighbors import Retrieved, explain, retrieve
from .inspection.expected import Expectation, why_not_first
from .inspection.inspected import Inspection, inspect_neighbors
from .memory_bank import MemoryBank
from .ranking.neighbors import Neighbors

Mistake = episodes.errors.Mistake
__all__ = [
    "Expectation",
    "Inspection",
    "MemoryBank",
    "Mistake",
    "Neighbors",
    "Retrieved",
    "centered_on",
    "explain",
    "inspect_neighbors",
    "retrieve",
    "why_not_first",
]
