"""Similarities by name. Larger always means more alike."""

from fsl_explain.similarities import cosine, euclidean, inner_product
from fsl_explain.similarities.mahalanobis import Mahalanobis
from fsl_explain.similarities.similarity import Form, Similarity, effective_reference

SIMILARITIES: dict[str, Similarity] = {
    "cosine": cosine,
    "inner-product": inner_product,
    "euclidean": euclidean,
}

__all__ = ["SIMILARITIES", "Form", "Mahalanobis", "Similarity", "effective_reference"]
