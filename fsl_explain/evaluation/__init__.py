"""Measurement of explanations over episodes."""

from fsl_explain.evaluation.episode_evaluation import accuracy_over_episodes, evaluate_episodes
from fsl_explain.evaluation.table import Table, summarize, table_of

__all__ = ["Table", "accuracy_over_episodes", "evaluate_episodes", "summarize", "table_of"]
