"""Decisions by similarity, by name."""

from fsl_explain.classifiers import mean_similarity, prototypes
from fsl_explain.classifiers.decision import (
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
from fsl_explain.classifiers.knn_vote import KnnVote, MajorityVote, NearestNeighbor
from fsl_explain.classifiers.linear import CosineClassifier, LogisticRegression

RULES: dict[str, Rule] = {
    "mean-similarity": mean_similarity,
    "prototype": prototypes,
    "nearest-neighbor": NearestNeighbor(),
    "knn-vote": KnnVote(),
    "majority-vote": MajorityVote(),
    "logistic-regression": LogisticRegression(),
    "cosine-classifier": CosineClassifier(),
}

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
    "padded_index",
    "pairwise_to_supports",
    "support_set",
]
