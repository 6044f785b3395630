"""Explanations of what a search in a bank of images returns."""

from retrieval_explain.inspection import Inspection, inspect_neighbors
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.neighbors import Neighbors
from retrieval_explain.retrieval import Retrieved, explain, retrieve

__all__ = ["Inspection", "MemoryBank", "Neighbors", "Retrieved", "explain", "inspect_neighbors", "retrieve"]
