"""Poolings by name."""

from episodes.registry import Registry
from fsl_explain import registries
from fsl_explain.heads.pooling import Pooling

__all__ = ["POOLINGS", "pooling_name"]

POOLINGS: Registry[Pooling] = registries.POOLINGS
"""Every pooling by the name that ``pooling=`` and ``--pooling`` take."""


def pooling_name(pooling: Pooling) -> str:
    """Return the name of a pooling, or its description where it has settings of its own."""
    return POOLINGS.name_of(pooling) or repr(pooling)
