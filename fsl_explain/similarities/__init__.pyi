from . import cosine, euclidean, inner_product
from .mahalanobis import Mahalanobis
from .named import SIMILARITIES
from .similarity import Form, Similarity, effective_reference

__all__ = [
    "SIMILARITIES",
    "Form",
    "Mahalanobis",
    "Similarity",
    "cosine",
    "effective_reference",
    "euclidean",
    "inner_product",
]
