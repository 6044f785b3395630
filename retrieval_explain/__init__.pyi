import episodes.errors

from .centering import centered_on
from .decisions.explained_neighbors import Retrieved, explain, retrieve
from .decisions.text_queries import TextRetrieved, explain_text, retrieve_text
from .inspection.expected import Expectation, why_not_first
from .inspection.inspected import Inspection, inspect_neighbors
from .inspection.text_inspection import TextInspection, inspect_text
from .memory_bank import MemoryBank
from .ranking.neighbors import Neighbors
from .sharded_bank import load_shards

Mistake = episodes.errors.Mistake
__all__ = [
    "Expectation",
    "Inspection",
    "MemoryBank",
    "Mistake",
    "Neighbors",
    "Retrieved",
    "TextInspection",
    "TextRetrieved",
    "centered_on",
    "explain",
    "explain_text",
    "inspect_neighbors",
    "inspect_text",
    "load_shards",
    "retrieve",
    "retrieve_text",
    "why_not_first",
]
