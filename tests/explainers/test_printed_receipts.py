"""The receipt as a table: its lines, its sums and how it is printed."""

import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.classifiers.knn_vote import HOW_MANY
from fsl_explain.explainers.explained_score import ENTROPY, THRESHOLD
from fsl_explain.explainers.receipt import SHOWN, Receipt, SupportLine

SUPPORTS = {"crow": images(3, seed=20), "jay": images(1, seed=21), "wren": images(2, seed=22)}


def explained(method="exact", rule="mean-similarity", **choice):
    return explain(tiny_encoder(random_head("linear")), images(seed=10), SUPPORTS, method=method, rule=rule, **choice)


def test_a_line_is_a_weight_times_a_similarity_split_in_two():
    receipt = explained("contrast", against="others").receipt()
    assert [(line.class_name, line.shot) for line in receipt.lines] == [
        *(("crow", 0), ("crow", 1), ("crow", 2)),
        *(("jay", 0), ("wren", 0), ("wren", 1)),
    ]
    for line in receipt.lines:
        assert line.weight * line.similarity == pytest.approx(line.amount)
    assert sum(line.amount for line in receipt.lines) == pytest.approx(receipt.score)
    assert receipt.supports + receipt.bias == pytest.approx(receipt.total)
    assert receipt.constants == {}


@pytest.mark.parametrize("rule", ["mean-similarity", "logistic-regression", "cosine-classifier"])
def test_only_supports_with_a_say_have_a_line_and_padding_has_none(rule):
    lines = explained(rule=rule, target="jay").receipt().lines
    names = [line.class_name for line in lines]
    assert names == (["jay"] if rule == "mean-similarity" else ["crow"] * 3 + ["jay"] + ["wren"] * 2)
    assert all(abs(line.similarity) <= 1 + 1e-9 for line in lines)


def test_constants_say_what_they_stand_for():
    vote = KnnVote(k=5)
    assert set(explained("contrast", vote).receipt().constants) == {HOW_MANY}
    assert set(explained("log-probability", scale=7.0).receipt().constants) == {ENTROPY}
    assert explained("verification", threshold=0.25).receipt().constants == {THRESHOLD: -0.25}
    both = explained("log-probability", vote).receipt()
    assert set(both.constants) == {HOW_MANY, ENTROPY}
    assert both.constants[ENTROPY] < 0


def test_the_parts_of_an_explanation_are_those_of_its_receipt():
    explanation = explained("log-probability", scale=7.0)
    receipt = explanation.receipt()
    assert float(explanation.cells.sum()) == pytest.approx(receipt.supports)
    assert float(explanation.bias) == pytest.approx(receipt.bias + sum(receipt.constants.values()))
    assert receipt.score == pytest.approx(float(explanation.score))


def test_a_batch_has_no_one_receipt():
    batch = explain(tiny_encoder(), images(2, seed=10), SUPPORTS)
    with pytest.raises(ValueError, match=r"expected the explanation of one query, but got that of a batch; index it"):
        batch.receipt()


def test_it_is_printed_line_by_line_with_its_residual():
    receipt = Receipt(
        (SupportLine("crow", 0, 0.5, 0.8, 0.3, 0.1), SupportLine("jay", 1, -0.25, 0.4, -0.125, 0.025)),
        {"minus the threshold": -0.05},
        0.25,
    )
    rows = str(receipt).splitlines()
    assert [row.split("  ")[0] for row in rows[1:]] == [
        "crow, support 1",
        "jay, support 2",
        "minus the threshold",
        "sum",
        "score",
        "residual",
    ]
    assert rows[0].split() == ["weight", "similarity", "=", "amount", "in", "cells", "bias"]
    assert rows[1].split()[3:] == ["+0.500000", "+0.800000", "+0.400000", "+0.300000", "+0.100000"]
    assert rows[4].split() == ["sum", "+0.250000", "+0.175000", "+0.125000"]
    assert rows[5].split() == ["score", "+0.250000"]
    assert rows[6].split()[2:] == ["(0.0e+00", "of", "Σ|addends|)"] or "e-1" in rows[6]
    assert receipt.absolute_sum == pytest.approx(0.3 + 0.1 + 0.125 + 0.025 + 0.05)


def test_many_supports_are_printed_from_the_largest_and_the_others_together():
    amounts = torch.linspace(-1, 1, SHOWN + 5).tolist()
    lines = tuple(SupportLine("crow", k, 1.0, amount, amount, 0.0) for k, amount in enumerate(amounts))
    rows = str(Receipt(lines, {}, sum(amounts))).splitlines()
    assert len(rows) == 1 + SHOWN + 1 + 3
    assert {rows[1].split("  ")[0], rows[2].split("  ")[0]} == {"crow, support 1", "crow, support 25"}
    others = sorted(amounts, key=abs)[:5]
    assert rows[SHOWN + 1].split()[:4] == ["the", "other", "5", "together"]
    assert rows[SHOWN + 1].split()[4] == f"{sum(others):+.6f}"
