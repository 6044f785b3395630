"""Settings, read strictly from TOML files."""

from fsl_explain.config.comparison import ComparisonConfig
from fsl_explain.config.encoder import EncoderConfig, HeadConfig
from fsl_explain.config.figure import FigureConfig
from fsl_explain.config.mosaics import MosaicsConfig
from fsl_explain.config.settings import EvaluationConfig
from fsl_explain.config.strict import read_config
from fsl_explain.config.training import TrainingConfig

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
