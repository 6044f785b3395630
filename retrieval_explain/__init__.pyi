import episodes.errors

from .centering import centered_on
from .decisions.explained_neighbors import Retrieved, explain, retrieve
from .decisions.text_queries import TextRetrieved, explain_text, retrieve_text
from .exports.fiftyone import fiftyone_dataset, fiftyone_view
from .inspection.expected import Expectation, why_not_first
from .inspection.inspected import Inspection, inspect_neighbors
from .inspection.text_inspection import TextInspection, inspect_text
from .local.explained_ranks import explain_reranked
from .local.local_features import LocalFeatures
from .local.reranking import Reranked, reranked
from .memory_bank import MemoryBank
from .ranking.neighbors import Neighbors
from .sharded_bank import load_shards

Mistake = episodes.errors.Mistake
__version__: str
__all__ = [
    "Expectation",
    "Inspection",
    "LocalFeatures",
    "MemoryBank",
    "Mistake",
    "Neighbors",
    "Reranked",
    "Retrieved",
    "TextInspection",
    "TextRetrieved",
    "centered_on",
    "explain",
    "explain_reranked",
    "explain_text",
    "fiftyone_dataset",
    "fiftyone_view",
    "inspect_neighbors",
    "inspect_text",
    "load_shards",
    "reranked",
    "retrieve",
    "retrieve_text",
    "why_not_first",
]
