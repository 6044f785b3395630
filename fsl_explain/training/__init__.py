"""Training of encoders in episodes."""

from fsl_explain.training.episodic import train

__all__ = ["train"]
