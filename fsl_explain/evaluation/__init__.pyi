from .episodes import accuracy_over_episodes, evaluate_episodes
from .figures import FIGURES, Figure
from .table import Table
from .tables.episode_summary import summarize, table_of

__all__ = ["FIGURES", "Figure", "Table", "accuracy_over_episodes", "evaluate_episodes", "summarize", "table_of"]
