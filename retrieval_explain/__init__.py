"""Explanations of what a search in a bank of images returns."""

from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.neighbors import Neighbors

__all__ = ["MemoryBank", "Neighbors"]
