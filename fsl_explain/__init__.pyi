import episodes.errors

from . import metrics
from .backbones.text import TextTower
from .centering import centered
from .classifiers import (
    BDCSPN,
    RULES,
    CosineClassifier,
    Decision,
    DistributionCalibration,
    KnnVote,
    LaplacianShot,
    LogisticRegression,
    MajorityVote,
    NearestNeighbor,
    RelationNetwork,
)
from .encoder import Encoder, Features
from .estimators import FewShotClassifier
from .evaluation import FIGURES, Figure, evaluate_episodes
from .explainers import (
    METHODS,
    Correspondence,
    Counterfactual,
    Explanation,
    IntegratedGradientsOptions,
    OcclusionOptions,
    Receipt,
    Relax,
    RelaxOptions,
    SmoothGradOptions,
    SupportAudit,
    correspondence,
    counterfactual,
    explain,
    finer_correspondence,
    heads_and_blocks,
    integrated_gradients_method,
    load_explanation,
    occlusion_method,
    relax,
    relax_method,
    saliency,
    smoothgrad_method,
    support_audit,
)
from .freed_memory import keep_freed_memory
from .heads import POOLINGS
from .registries import ENCODERS
from .report.notebook_view import widget
from .similarities import SIMILARITIES, LearnedSimilarity, Mahalanobis

Mistake = episodes.errors.Mistake
__version__: str
__all__ = [
    "BDCSPN",
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
    "DistributionCalibration",
    "Encoder",
    "Explanation",
    "Features",
    "FewShotClassifier",
    "Figure",
    "IntegratedGradientsOptions",
    "KnnVote",
    "LaplacianShot",
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
    "SmoothGradOptions",
    "SupportAudit",
    "TextTower",
    "centered",
    "correspondence",
    "counterfactual",
    "evaluate_episodes",
    "explain",
    "finer_correspondence",
    "heads_and_blocks",
    "integrated_gradients_method",
    "keep_freed_memory",
    "load_explanation",
    "metrics",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "smoothgrad_method",
    "support_audit",
    "widget",
]
