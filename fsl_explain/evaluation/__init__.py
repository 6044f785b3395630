"""Measurement of explanations over episodes."""

from fsl_explain.evaluation.episode_evaluation import accuracy_over_episodes, evaluate_episodes
from fsl_explain.evaluation.table import summarize, table_of
from fsl_explain.evaluation.text_table import Table

__all__ = ["Table", "accuracy_over_episodes", "evaluate_episodes", "summarize", "table_of"]
