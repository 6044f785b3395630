"""What is measured for every query and every method, as values, as tensors to keep, and as columns of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.evaluation.figures import Figure


@dataclass(frozen=True)
class Decisions:
    """What was decided, for each episode and each of its queries."""

    image: Int[Tensor, "episode query"]  # data set index
    truth: Int[Tensor, "episode query"]  # position of the true class in the episode
    predicted: Int[Tensor, "episode query"]
    truth_label: Int[Tensor, "episode query"]  # class index of the data set
    predicted_label: Int[Tensor, "episode query"]
    score: Float[Tensor, "episode query"]  # of the predicted class
    margin: Float[Tensor, "episode query"]  # to the runner-up

    @property
    def accuracy(self) -> Float[Tensor, "episode"]:
        """Share of correct decisions in each episode."""
        return (self.truth == self.predicted).double().mean(dim=1)


@dataclass(frozen=True)
class Measurements:
    """The figures of each method for each query; NaN for wrong decisions and where a metric is undefined."""

    methods: tuple[str, ...]
    masked_score: Float[Tensor, "method episode query"]
    figures: dict[str, Float[Tensor, "method episode query"]]  # by name; drops and increases per query
    shown: tuple[Figure, ...] = ()  # how those are shown that are not registered


@dataclass(frozen=True)
class Chunk:
    """Consecutive episodes, finished."""

    decisions: Decisions
    measurements: Measurements


def tensors_of(chunk: Chunk) -> dict[str, Tensor]:
    """Return a finished chunk as tensors by name."""
    decisions = {f"decisions.{name}": value for name, value in vars(chunk.decisions).items()}
    figures = {f"figures.{name}": value for name, value in chunk.measurements.figures.items()}
    return decisions | figures | {"masked_score": chunk.measurements.masked_score}


def chunk_of(tensors: Mapping[str, Tensor], methods: tuple[str, ...], shown: tuple[Figure, ...]) -> Chunk:
    """Return the chunk that ``tensors_of`` was given."""
    decisions = Decisions(**_with_prefix(tensors, "decisions."))
    figures = _with_prefix(tensors, "figures.")
    return Chunk(decisions, Measurements(methods, tensors["masked_score"], figures, shown))


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Put consecutive chunks together."""
    first = chunks[0]
    decisions = {
        name: torch.cat([getattr(chunk.decisions, name) for chunk in chunks]) for name in vars(first.decisions)
    }
    figures = {
        name: torch.cat([chunk.measurements.figures[name] for chunk in chunks], dim=1)
        for name in first.measurements.figures
    }
    masked = torch.cat([chunk.measurements.masked_score for chunk in chunks], dim=1)
    return Chunk(
        Decisions(**decisions), Measurements(first.measurements.methods, masked, figures, first.measurements.shown)
    )


def episode_means(figure: Float[Tensor, "*episodes query"]) -> Float[Tensor, "*episodes"]:
    """Average over the queries of an episode that have the figure; NaN where none has."""
    return figure.nanmean(dim=-1)


def query_columns(
    chunk: Chunk, classes: Sequence[str], paths: Sequence[Path | None]
) -> dict[str, np.ndarray | list[str | None]]:
    """Return one row per query and method, as columns of a table."""
    methods = chunk.measurements.methods
    decisions = chunk.decisions
    episodes, queries = decisions.image.shape
    index = torch.arange(episodes * queries).reshape(episodes, queries)
    images = decisions.image.flatten().tolist() * len(methods)
    shared = {
        "episode": index // queries,
        "query": index % queries,
        "image": decisions.image,
        "correct": decisions.truth == decisions.predicted,
        "score": decisions.score,
        "margin": decisions.margin,
    }
    columns: dict[str, np.ndarray | list[str | None]] = {
        "method": [method for method in methods for _ in range(episodes * queries)]
    }
    columns |= {name: value.flatten().repeat(len(methods)).numpy() for name, value in shared.items()}
    columns["path"] = [None if paths[image] is None else str(paths[image]) for image in images]
    columns["class"] = [classes[label] for label in decisions.truth_label.flatten().tolist()] * len(methods)
    columns["predicted"] = [classes[label] for label in decisions.predicted_label.flatten().tolist()] * len(methods)
    columns["masked_score"] = chunk.measurements.masked_score.flatten().numpy()
    return columns | {name: value.flatten().numpy() for name, value in chunk.measurements.figures.items()}


def about_queries(
    decisions: Decisions, classes: Sequence[str], paths: Sequence[Path | None], numbers: np.ndarray
) -> dict[str, np.ndarray | list[str | None]]:
    """Return what is known of queries that are numbered through all episodes, as columns of a table."""
    queries, flat = decisions.image.shape[1], torch.from_numpy(numbers)
    images = decisions.image.flatten()[flat].tolist()
    return {
        "episode": numbers // queries,
        "query": numbers % queries,
        "image": np.asarray(images, np.int64),
        "path": [None if paths[image] is None else str(paths[image]) for image in images],
        "class": [classes[label] for label in decisions.truth_label.flatten()[flat].tolist()],
        "predicted": [classes[label] for label in decisions.predicted_label.flatten()[flat].tolist()],
    }


def episode_columns(chunk: Chunk) -> dict[str, np.ndarray | list[str]]:
    """Return one row per episode and method, as columns of a table."""
    methods = chunk.measurements.methods
    correct = (chunk.decisions.truth == chunk.decisions.predicted).sum(dim=1)
    episodes = len(correct)
    columns: dict[str, np.ndarray | list[str]] = {
        "method": [method for method in methods for _ in range(episodes)],
        "episode": np.tile(np.arange(episodes), len(methods)),
        "accuracy": chunk.decisions.accuracy.repeat(len(methods)).numpy(),
        "queries": np.full(episodes * len(methods), chunk.decisions.image.shape[1]),
        "correct": correct.repeat(len(methods)).numpy(),
    }
    figures = chunk.measurements.figures
    if "average_drop" in figures:
        wrong = (chunk.decisions.truth != chunk.decisions.predicted).sum(dim=1)
        without_drop = figures["average_drop"].isnan().sum(dim=-1) - wrong
        columns["left_out_of_average_drop"] = without_drop.flatten().numpy()
    return columns | {name: episode_means(figures[name]).flatten().numpy() for name in figures}
