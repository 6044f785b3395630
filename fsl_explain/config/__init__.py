"""Settings, read strictly from TOML files."""

from fsl_explain.config.settings import EncoderConfig, EvaluationConfig, TrainingConfig
from fsl_explain.config.strict import read_config

__all__ = ["EncoderConfig", "EvaluationConfig", "TrainingConfig", "read_config"]
