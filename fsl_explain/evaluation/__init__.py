"""Measurement of explanations over episodes."""

from fsl_explain.evaluation.episodes import accuracy_over_episodes, evaluate_episodes
from fsl_explain.evaluation.figures import FIGURES, Figure
from fsl_explain.evaluation.table import Table
from fsl_explain.evaluation.tables.episode_summary import summarize, table_of

__all__ = [
    "FIGURES",
    "Figure",
    "Table",
    "accuracy_over_episodes",
    "evaluate_episodes",
    "summarize",
    "table_of",
]
