"""Settings, read strictly from TOML files."""

from fsl_explain.config.comparison import ComparisonConfig
from fsl_explain.config.mosaics import MosaicsConfig
from fsl_explain.config.settings import EncoderConfig, EvaluationConfig, TrainingConfig
from fsl_explain.config.strict import read_config

__all__ = ["ComparisonConfig", "EncoderConfig", "EvaluationConfig", "MosaicsConfig", "TrainingConfig", "read_config"]
