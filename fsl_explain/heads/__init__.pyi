from .head_layers import projection_head
from .linearization import Linearization, linearize
from .named import POOLINGS, pooling_name
from .pooling import (
    GeneralizedMeanPooling,
    GlobalAveragePooling,
    GlobalMaxPooling,
    LogSumExpPooling,
    Pooling,
)
from .projection import Center, L2Normalize, Power

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
    "Power",
    "linearize",
    "pooling_name",
    "projection_head",
]
