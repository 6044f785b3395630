"""Similarities by name."""

from fsl_explain.registries import SIMILARITIES

__all__ = ["SIMILARITIES"]
