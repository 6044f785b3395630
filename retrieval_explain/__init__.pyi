import episodes.errors

from .decisions.explained_neighbors import Retrieved, explain, retrieve
from .inspection.inspected import Inspection, inspect_neighbors
from .memory_bank import MemoryBank
from .ranking.neighbors import Neighbors

Mistake = episodes.errors.Mistake
__all__ = ["Inspection", "MemoryBank", "Mistake", "Neighbors", "Retrieved", "explain", "inspect_neighbors", "retrieve"]
