from . import cosine, euclidean, inner_product
from .mahalanobis import Mahalanobis
from .named import SIMILARITIES, named_similarity, similarity_name
from .similarity import Form, Similarity, effective_reference
from .traits import InFloat32, Traits, traits_of

__all__ = [
    "SIMILARITIES",
    "Form",
    "InFloat32",
    "Mahalanobis",
    "Similarity",
    "Traits",
    "cosine",
    "effective_reference",
    "euclidean",
    "inner_product",
    "named_similarity",
    "similarity_name",
    "traits_of",
]
