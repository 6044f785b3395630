"""Explanations of what a search in a bank of images returns."""

from retrieval_explain.decisions.explained_neighbors import Retrieved, explain, retrieve
from retrieval_explain.inspection.inspected import Inspection, inspect_neighbors
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors

__all__ = ["Inspection", "MemoryBank", "Neighbors", "Retrieved", "explain", "inspect_neighbors", "retrieve"]
