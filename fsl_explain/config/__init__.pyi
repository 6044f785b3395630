from .comparison import ComparisonConfig
from .encoder import EncoderConfig, HeadConfig
from .figure import FigureConfig
from .mosaics import MosaicsConfig
from .settings import EvaluationConfig
from .strict import read_config
from .training import TrainingConfig

__all__ = [
    "ComparisonConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "FigureConfig",
    "HeadConfig",
    "MosaicsConfig",
    "TrainingConfig",
    "read_config",
]
