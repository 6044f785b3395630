from . import cosine, euclidean, inner_product
from .any_form import AnyForm, effective_reference
from .at_scales import AtScales
from .form import Form
from .learned import LearnedSimilarity
from .mahalanobis import Mahalanobis
from .named import SIMILARITIES, named_similarity, similarity_name
from .pair_form import PairForm
from .similarity import Similarity
from .traits import InFloat32, Traits, has_form, is_without, traits_of, weighs_supports

__all__ = [
    "SIMILARITIES",
    "AnyForm",
    "AtScales",
    "Form",
    "InFloat32",
    "LearnedSimilarity",
    "Mahalanobis",
    "PairForm",
    "Similarity",
    "Traits",
    "cosine",
    "effective_reference",
    "euclidean",
    "has_form",
    "inner_product",
    "is_without",
    "named_similarity",
    "similarity_name",
    "traits_of",
    "weighs_supports",
]
