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
    form_of,
    frozen_part,
    has_own_form,
    is_linear_in_embeddings,
    needs_unlabeled,
    pairwise_to_supports,
    similarities_to,
)
from .distribution_calibration import DistributionCalibration
from .gathered_supports import padded_index, support_set
from .knn_vote import KnnVote, MajorityVote, NearestNeighbor
from .linear import CosineClassifier, LogisticRegression
from .local.deep_emd import DeepEMD
from .local.dn4 import DN4
from .local.frn import FRN
from .local.local_features import local_features
from .local.max_sim import MaxSim
from .local.rule import LocalRule, is_local
from .local.structured_deep_emd import StructuredDeepEMD
from .named import RULES, has_option, named_rule, neighbor_rules, votes
from .relation_network import RelationNetwork
from .relation_rule import RelationRule
from .transductive.bd_cspn import BDCSPN
from .transductive.laplacian_shot import LaplacianShot

__all__ = [
    "BDCSPN",
    "DN4",
    "FRN",
    "RULES",
    "CosineClassifier",
    "Decision",
    "DeepEMD",
    "DistributionCalibration",
    "KnnVote",
    "LaplacianShot",
    "LocalRule",
    "LogisticRegression",
    "MajorityVote",
    "MaxSim",
    "NearestNeighbor",
    "NeighborRule",
    "RelationNetwork",
    "RelationRule",
    "Rule",
    "StructuredDeepEMD",
    "SupportSet",
    "Vote",
    "Weights",
    "combined",
    "compared_with",
    "decide",
    "form_of",
    "frozen_part",
    "has_option",
    "has_own_form",
    "is_linear_in_embeddings",
    "is_local",
    "local_features",
    "named_rule",
    "needs_unlabeled",
    "neighbor_rules",
    "padded_index",
    "pairwise_to_supports",
    "similarities_to",
    "support_set",
    "votes",
]
