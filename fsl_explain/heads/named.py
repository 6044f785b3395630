"""Poolings by name."""

from fsl_explain.heads.pooling import Pooling
from fsl_explain.registries import POOLINGS

__all__ = ["POOLINGS", "pooling_name"]


def pooling_name(pooling: Pooling) -> str:
    """Return the name of a pooling, or its description where it has settings of its own."""
    return POOLINGS.name_of(pooling) or repr(pooling)
