"""Measurements written by hand, and the rows of the tables that are made of them."""

import math
from pathlib import Path

import pytest
import torch

from fsl_explain.evaluation import measurement
from fsl_explain.evaluation.measurement import Chunk, Decisions, Measurements, episode_columns, query_columns

CLASSES = ("ant", "bee", "cat")
METHODS = ("exact", "lafam")
NAN = math.nan


def written_chunk():
    """Two episodes of three queries; the first has one wrong decision and a correct one without an average drop."""
    decisions = Decisions(
        image=torch.tensor([[4, 2, 0], [1, 3, 4]]),
        truth=torch.tensor([[0, 0, 1], [0, 0, 1]]),
        predicted=torch.tensor([[0, 1, 1], [0, 0, 1]]),
        truth_label=torch.tensor([[2, 2, 0], [1, 1, 2]]),
        predicted_label=torch.tensor([[2, 0, 0], [1, 1, 2]]),
        score=torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]]),
        margin=torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]),
    )
    masked = torch.arange(12.0).reshape(2, 2, 3)
    drops = torch.tensor([[[NAN, NAN, 30.0], [1.0, 2.0, 6.0]], [[10.0, NAN, 20.0], [4.0, 5.0, 9.0]]])
    return Chunk(decisions, Measurements(METHODS, masked, {"average_drop": drops, "proportion": drops / 100}))


def rows_of(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*(list(v) for v in columns.values()), strict=True)]


def test_a_row_of_the_queries_is_one_query_by_one_method():
    chunk, paths = written_chunk(), [Path(f"{i}.png") if i % 2 == 0 else None for i in range(5)]
    rows, decisions = rows_of(query_columns(chunk, CLASSES, paths)), chunk.decisions
    places = [(m, e, q) for m in range(2) for e in range(2) for q in range(3)]
    assert len(rows) == len(places)
    for row, (m, e, q) in zip(rows, places, strict=True):
        image = int(decisions.image[e, q])
        assert (row["method"], row["episode"], row["query"], row["image"]) == (METHODS[m], e, q, image)
        assert row["path"] == (f"{image}.png" if image % 2 == 0 else None)
        assert row["class"] == CLASSES[decisions.truth_label[e, q]]
        assert row["predicted"] == CLASSES[decisions.predicted_label[e, q]]
        assert row["correct"] == ((e, q) != (0, 1))
        assert (row["score"], row["margin"]) == (decisions.score[e, q], decisions.margin[e, q])
        assert row["masked_score"] == chunk.measurements.masked_score[m, e, q]
        for name, figures in chunk.measurements.figures.items():
            assert row[name] == pytest.approx(float(figures[m, e, q]), nan_ok=True)


def test_a_row_of_the_episodes_averages_the_queries_that_have_a_figure():
    rows = rows_of(episode_columns(written_chunk()))
    expected = [("exact", 0, 30.0, 1), ("exact", 1, 3.0, 0), ("lafam", 0, 15.0, 0), ("lafam", 1, 6.0, 0)]
    assert len(rows) == 4
    for row, (method, episode, drop, left_out) in zip(rows, expected, strict=True):
        assert (row["method"], row["episode"]) == (method, episode)
        assert row["average_drop"] == pytest.approx(drop)
        assert row["proportion"] == pytest.approx(drop / 100)
        assert row["accuracy"] == pytest.approx(2 / 3 if episode == 0 else 1)
        assert (row["queries"], row["correct"]) == (3, 2 if episode == 0 else 3)
        assert row["left_out_of_average_drop"] == left_out


def test_chunks_come_back_as_they_were_and_join_in_order():
    chunk = written_chunk()
    again = measurement.chunk_of(measurement.tensors_of(chunk), METHODS, ())
    both = measurement.join([chunk, again])
    for name, value in vars(chunk.decisions).items():
        assert torch.equal(getattr(both.decisions, name), torch.cat([value, value]))
    for name, figures in chunk.measurements.figures.items():
        torch.testing.assert_close(
            both.measurements.figures[name], torch.cat([figures, figures], dim=1), equal_nan=True, rtol=0, atol=0
        )
    masked = chunk.measurements.masked_score
    assert torch.equal(both.measurements.masked_score, torch.cat([masked, masked], dim=1))
