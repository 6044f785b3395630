from .decision import (
    Decision,
    Rule,
    SupportSet,
    Weights,
    combined,
    decide,
    padded_index,
    pairwise_to_supports,
    support_set,
)
from .knn_vote import KnnVote, MajorityVote, NearestNeighbor
from .linear import CosineClassifier, LogisticRegression
from .named import RULES, named_rule

__all__ = [
    "RULES",
    "CosineClassifier",
    "Decision",
    "KnnVote",
    "LogisticRegression",
    "MajorityVote",
    "NearestNeighbor",
    "Rule",
    "SupportSet",
    "Weights",
    "combined",
    "decide",
    "named_rule",
    "padded_index",
    "pairwise_to_supports",
    "support_set",
]
