"""Similarities by name. Larger always means more alike."""

from episodes.naming import unknown_name
from fsl_explain.similarities import cosine, euclidean, inner_product
from fsl_explain.similarities.mahalanobis import Mahalanobis
from fsl_explain.similarities.similarity import Form, Similarity, effective_reference
from fsl_explain.similarities.traits import InFloat32, Traits, traits_of

SIMILARITIES: dict[str, Similarity] = {
    "cosine": cosine,
    "inner-product": inner_product,
    "euclidean": euclidean,
}


def named_similarity(similarity: str | Similarity) -> Similarity:
    """Return a similarity by name, or the one given. Raises: ``LookupError`` with the nearest names."""
    if not isinstance(similarity, str):
        return similarity
    if similarity not in SIMILARITIES:
        raise unknown_name("similarity", similarity, SIMILARITIES)
    return SIMILARITIES[similarity]


def similarity_name(similarity: str | Similarity) -> str | None:
    """Return the name of a similarity that was given by name or as an object, or None for one without a name."""
    found = named_similarity(similarity)
    return next((name for name, known in SIMILARITIES.items() if known is found), None)


__all__ = [
    "SIMILARITIES",
    "Form",
    "InFloat32",
    "Mahalanobis",
    "Similarity",
    "Traits",
    "effective_reference",
    "named_similarity",
    "similarity_name",
    "traits_of",
]
