"""From activation maps to the embedding: pooling, projection, and both as sums that add up."""

from fsl_explain.heads.head_layers import projection_head
from fsl_explain.heads.linearization import Linearization, linearize
from fsl_explain.heads.pooling import (
    POOLINGS,
    GeneralizedMeanPooling,
    GlobalAveragePooling,
    GlobalMaxPooling,
    LogSumExpPooling,
    Pooling,
    pooling_name,
)
from fsl_explain.heads.projection import Center, L2Normalize

__all__ = [
    "POOLINGS",
    "Center",
    "GeneralizedMeanPooling",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "L2Normalize",
    "Linearization",
    "LogSumExpPooling",
    "Pooling",
    "linearize",
    "pooling_name",
    "projection_head",
]
