"""Measurements that stand in a folder of results, ready to be laid out again or compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from episodes.errors import MissingFile, Mistake
from fsl_explain.backbones.random_parts import random_words
from fsl_explain.centering import centered_words
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.evaluation.seen_classes import SeenClasses

TABLE = "queries.parquet"
SUMMARY = "summary.json"
RANDOM_PARTS = "random_weights"  # in the provenance: the parts of the encoder that have them
CENTERED_ON = "centered_on"  # in words, "" for nothing
LEFT_OUT = "left_out_as_broken"  # section of the settings → how many images of how many


@dataclass(frozen=True)
class StoredResults:
    """The figures of every method on the same units; NaN where a unit has none."""

    name: str
    unit: str  # what an interval is over: episodes or queries
    figures: Mapping[str, Mapping[str, Float[np.ndarray, "unit"]]]  # method → figure → values
    caveats: tuple[str, ...] = ()  # what has to stand beside every figure

    def of(self, figure: str) -> dict[str, Float[np.ndarray, "unit"]]:
        """Return one figure of every method that has it."""
        return {method: values[figure] for method, values in self.figures.items() if figure in values}


def read_results(folder: str | Path) -> list[StoredResults]:
    """Read what an evaluation wrote to a folder: one entry, or one for each rule of an evaluation of a bank.

    Figures of a few-shot evaluation are means over the queries of an episode. A comparison of which some methods took
    a sample of the images gives two entries: the other methods on all images, and all methods on the sample.

    Raises: ``FileNotFoundError`` where there are no results; ``ValueError`` for a file that is no table of them.
    """
    path = Path(folder) / TABLE
    if not path.is_file():
        raise MissingFile(f"expected the results of an evaluation in {folder}, but there is no {TABLE}.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise Mistake(f"{path} is no table of measurements or is damaged; run the evaluation again.") from error
    if "method" not in table.column_names:
        raise Mistake(f"expected a column method in {path}, but there is none; use the results of an evaluation.")
    caveats = _caveats(path.with_name(SUMMARY))
    return [replace(one, caveats=caveats) for one in _parts(table, Path(folder).resolve().name)]


def caveats_of(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what has to stand beside every figure of a run: classes seen, what is random, centered or left out.

    Raises: ``LookupError``, ``TypeError`` or ``ValueError`` for a provenance that no run has recorded.
    """
    said = (
        *SeenClasses.recalled(provenance).sentences,
        random_words(provenance.get(RANDOM_PARTS, ())),
        centered_words(str(provenance.get(CENTERED_ON, ""))),
        *(_broken_words(section, *counts) for section, counts in provenance.get(LEFT_OUT, {}).items()),
    )
    return tuple(words for words in said if words)


def _broken_words(section: str, left_out: int, total: int) -> str:
    return f"{left_out} of the {total} images of [{section}] cannot be read and are left out." if left_out else ""


def _caveats(path: Path) -> tuple[str, ...]:
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
        return caveats_of(provenance)
    except FileNotFoundError:
        return (f"There is no {SUMMARY} beside the figures: what they were measured on is not known.",)
    except (ValueError, LookupError, TypeError) as error:
        raise Mistake(f"{path} is no summary of an evaluation or is damaged; run the evaluation again.") from error


def _parts(table: pa.Table, name: str) -> list[StoredResults]:
    if "sampled" in table.column_names:
        return _of_comparison(table, name)
    if "rule" not in table.column_names:
        return [_results(table, name)]
    rules = dict.fromkeys(table["rule"].to_pylist())
    return [_results(table.filter(pa.compute.equal(table["rule"], rule)), f"{name}, {rule}") for rule in rules]


def _of_comparison(table: pa.Table, name: str) -> list[StoredResults]:
    sampled = table["sampled"].to_numpy()
    if sampled.all():
        return [_results(table, name)]
    figures = [column for column in _figure_columns(table).values() if column != "correct"]
    measured = ~np.isnan(np.stack([_numbers(table, column) for column in figures])).all(axis=0)
    methods = np.array(table["method"].to_pylist())
    on_all = np.isin(methods, np.unique(methods[measured & ~sampled]))
    parts = (table.filter(pa.array(chosen)) for chosen in (on_all, sampled))
    return [_results(part, f"{name}, {_images(part)} images") for part in parts]


def _images(table: pa.Table) -> int:
    return len(table) // len(table["method"].unique())


def _results(table: pa.Table, name: str) -> StoredResults:
    columns = {figure: _numbers(table, column) for figure, column in _figure_columns(table).items()}
    methods = np.array(table["method"].to_pylist())
    episodes = _numbers(table, "episode").astype(np.int64) if "episode" in table.column_names else None
    figures: dict[str, dict[str, Any]] = {}
    for method in dict.fromkeys(methods.tolist()):
        rows = methods == method
        figures[method] = {
            figure: values[rows] if episodes is None else _episode_means(values[rows], episodes[rows])
            for figure, values in columns.items()
        }
    return StoredResults(name, "queries" if episodes is None else "episodes", figures)


def _figure_columns(table: pa.Table) -> dict[str, str]:
    found = {figure: figure for figure in FIGURES if figure in table.column_names}
    return {"accuracy": "correct"} | found if "correct" in table.column_names else found


def _numbers(table: pa.Table, column: str) -> Float[np.ndarray, "row"]:
    numbers: np.ndarray = table[column].cast(pa.float64()).to_numpy()
    return numbers


def _episode_means(
    values: Float[np.ndarray, "query"], episodes: Int[np.ndarray, "query"]
) -> Float[np.ndarray, "episode"]:
    """Return the mean of each episode's queries that have the figure; NaN where none has."""
    known, count = ~np.isnan(values), int(episodes.max()) + 1
    totals = np.bincount(episodes[known], weights=values[known], minlength=count)
    counted = np.bincount(episodes[known], minlength=count)
    means: np.ndarray = np.divide(totals, counted, out=np.full(count, np.nan), where=counted > 0)
    return means
