"""The learning rate at each step, as a pure function of the settings."""

import math

from fsl_explain.config.training import OptimizerConfig


def learning_rate(config: OptimizerConfig, epoch: float) -> float:
    """Return the rate after ``epoch`` epochs, a fraction of one counting in the cosine."""
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    passed = [rate for start, rate in config.rates if epoch >= start]
    return passed[-1] if passed else config.learning_rate
