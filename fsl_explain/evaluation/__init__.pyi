from .episodes import accuracy_over_episodes, evaluate_episodes
from .figures import FIGURES, Figure
from .results.saved_maps import SavedMap, SavedMaps, load_maps
from .table import Table
from .tables.episode_summary import summarize, table_of

__all__ = [
    "FIGURES",
    "Figure",
    "SavedMap",
    "SavedMaps",
    "Table",
    "accuracy_over_episodes",
    "evaluate_episodes",
    "load_maps",
    "summarize",
    "table_of",
]
