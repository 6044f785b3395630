import episodes.errors

from . import metrics
from .classifiers import (
    CosineClassifier,
    Decision,
    KnnVote,
    LogisticRegression,
    MajorityVote,
    NearestNeighbor,
)
from .encoder import Encoder, Features
from .explainers import (
    Correspondence,
    Counterfactual,
    Explanation,
    OcclusionOptions,
    Receipt,
    Relax,
    RelaxOptions,
    SupportAudit,
    correspondence,
    counterfactual,
    explain,
    occlusion_method,
    relax,
    relax_method,
    saliency,
    support_audit,
)
from .registries import ENCODERS, METHODS, POOLINGS, RULES, SIMILARITIES
from .similarities import Mahalanobis

Mistake = episodes.errors.Mistake
__version__: str
__all__ = [
    "ENCODERS",
    "METHODS",
    "POOLINGS",
    "RULES",
    "SIMILARITIES",
    "Correspondence",
    "CosineClassifier",
    "Counterfactual",
    "Decision",
    "Encoder",
    "Explanation",
    "Features",
    "KnnVote",
    "LogisticRegression",
    "Mahalanobis",
    "MajorityVote",
    "Mistake",
    "NearestNeighbor",
    "OcclusionOptions",
    "Receipt",
    "Relax",
    "RelaxOptions",
    "SupportAudit",
    "correspondence",
    "counterfactual",
    "explain",
    "metrics",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "support_audit",
]
