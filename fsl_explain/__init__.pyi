import episodes.errors

from . import metrics
from .backbones.text import TextTower
from .centering import centered
from .classifiers import (
    RULES,
    CosineClassifier,
    Decision,
    KnnVote,
    LogisticRegression,
    MajorityVote,
    NearestNeighbor,
    RelationNetwork,
)
from .encoder import Encoder, Features
from .evaluation import FIGURES, Figure, evaluate_episodes
from .explainers import (
    METHODS,
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
    heads_and_blocks,
    load_explanation,
    occlusion_method,
    relax,
    relax_method,
    saliency,
    support_audit,
)
from .heads import POOLINGS
from .registries import ENCODERS
from .report.notebook_view import widget
from .similarities import SIMILARITIES, LearnedSimilarity, Mahalanobis

Mistake = episodes.errors.Mistake
__version__: str
__all__ = [
    "ENCODERS",
    "FIGURES",
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
    "Figure",
    "KnnVote",
    "LearnedSimilarity",
    "LogisticRegression",
    "Mahalanobis",
    "MajorityVote",
    "Mistake",
    "NearestNeighbor",
    "OcclusionOptions",
    "Receipt",
    "RelationNetwork",
    "Relax",
    "RelaxOptions",
    "SupportAudit",
    "TextTower",
    "centered",
    "correspondence",
    "counterfactual",
    "evaluate_episodes",
    "explain",
    "heads_and_blocks",
    "load_explanation",
    "metrics",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "support_audit",
    "widget",
]
