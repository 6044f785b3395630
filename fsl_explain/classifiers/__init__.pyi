from .decision import (
    Decision,
    NeighborRule,
    Rule,
    SupportSet,
    Vote,
    Weights,
    combined,
    compared_with,
    decide,
    is_linear_in_embeddings,
    padded_index,
    pairwise_to_supports,
    support_set,
)
from .knn_vote import KnnVote, MajorityVote, NearestNeighbor
from .linear import CosineClassifier, LogisticRegression
from .named import RULES, has_option, named_rule, neighbor_rules, votes
from .relation_network import RelationNetwork

__all__ = [
    "RULES",
    "CosineClassifier",
    "Decision",
    "KnnVote",
    "LogisticRegression",
    "MajorityVote",
    "NearestNeighbor",
    "NeighborRule",
    "RelationNetwork",
    "Rule",
    "SupportSet",
    "Vote",
    "Weights",
    "combined",
    "compared_with",
    "decide",
    "has_option",
    "is_linear_in_embeddings",
    "named_rule",
    "neighbor_rules",
    "padded_index",
    "pairwise_to_supports",
    "support_set",
    "votes",
]
