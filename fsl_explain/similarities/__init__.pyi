from . import cosine, euclidean, inner_product
from .learned import LearnedSimilarity
from .mahalanobis import Mahalanobis
from .named import SIMILARITIES, named_similarity, similarity_name
from .similarity import Form, Similarity, effective_reference
from .traits import InFloat32, Traits, has_form, traits_of

__all__ = [
    "SIMILARITIES",
    "Form",
    "InFloat32",
    "LearnedSimilarity",
    "Mahalanobis",
    "Similarity",
    "Traits",
    "cosine",
    "effective_reference",
    "euclidean",
    "has_form",
    "inner_product",
    "named_similarity",
    "similarity_name",
    "traits_of",
]
