"""Similarities by name."""

from episodes.registry import Registry
from fsl_explain import registries
from fsl_explain.similarities.at_scales import AtScales
from fsl_explain.similarities.similarity import Similarity

__all__ = ["SIMILARITIES", "named_similarity", "similarity_name"]

SIMILARITIES: Registry[Similarity] = registries.SIMILARITIES
"""Every similarity by the name that ``similarity=`` and ``--similarity`` take; larger is more alike."""


def named_similarity(similarity: str | Similarity) -> Similarity:
    """Return a similarity by name, or the one given.

    Raises: ``LookupError`` with the nearest names; ``TypeError`` for a class or a number in place of an object.
    """
    return SIMILARITIES.find(similarity)


def similarity_name(similarity: str | Similarity) -> str | None:
    """Return the name of a similarity that was given by name or as an object, or None for one without a name.

    Raises: as ``named_similarity``.
    """
    found = named_similarity(similarity)
    return next((name for name, known in SIMILARITIES.items() if known is found), None) or _composed(found)


def _composed(similarity: Similarity) -> str | None:
    return similarity.composed_name if isinstance(similarity, AtScales) else None
