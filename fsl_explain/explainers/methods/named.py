"""Explainers by name."""

from episodes.registry import Registry
from fsl_explain import registries
from fsl_explain.explainers.method import Method
from fsl_explain.registries import TRIVIAL_MAPS

__all__ = ["METHODS", "TRIVIAL", "find_method", "name_of"]

METHODS: Registry[Method] = registries.METHODS
"""Every explainer by the name that ``method=`` and ``--method`` take."""

TRIVIAL = tuple(TRIVIAL_MAPS)
"""Maps that do not look at the image."""


def name_of(method: str | Method) -> str:
    """Return the name of an explainer that was given by name or as an object."""
    if isinstance(method, str):
        return method
    return METHODS.name_of(method) or method.name


def find_method(method: str | Method) -> Method:
    """Return an explainer by name, or the one given.

    Raises: ``LookupError`` with the nearest names.
    """
    return method if isinstance(method, Method) else METHODS[method]
