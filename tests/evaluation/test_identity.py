"""Settings that differ have different texts, so that no finished part of one run serves another."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from fsl_explain.evaluation.figures import FIGURES, Figure
from fsl_explain.evaluation.identity import identity
from fsl_explain.registries import METHODS, RULES, SIMILARITIES
from fsl_explain.similarities import Mahalanobis


def scaled(scale):
    return lambda maps: maps.flatten(1).amax(1) * scale


@dataclass
class Setting:
    value: object


def precision(middle):
    matrix = torch.eye(64, dtype=torch.float64)
    matrix[32, 32] = middle
    return Mahalanobis(matrix)


PAIRS = {
    "closure": (lambda: scaled(1), lambda: scaled(2)),
    "code": (lambda: lambda maps: maps + 1, lambda: lambda maps: maps + 2),
    "default": (lambda: lambda maps, by=1: maps, lambda: lambda maps, by=2: maps),
    "partial": (lambda: partial(max, 1), lambda: partial(max, 2)),
    "figure": (lambda: Figure("peak", "Peak", scaled(1)), lambda: Figure("peak", "Peak", scaled(2))),
    "middle of a matrix": (lambda: precision(1.0), lambda: precision(2.0)),
    "tensor": (lambda: torch.ones(3), lambda: torch.ones(3).double()),
    "nested": (lambda: {"a": [Setting(1)]}, lambda: {"a": [Setting(2)]}),
    "number and text": (lambda: 1, lambda: "1"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_is_the_same_and_another_is_another(name):
    one, other = PAIRS[name]
    assert identity(one()) == identity(one())
    assert identity(one()) != identity(other())


def test_what_cannot_be_told_is_new_at_every_call():
    thing = object()
    assert identity(thing) != identity(thing)


@pytest.mark.parametrize("table", [METHODS, RULES, SIMILARITIES, FIGURES], ids=lambda table: table.kind)
def test_registered_members_have_lasting_texts_of_their_own(table):
    texts = [identity(table[name]) for name in table]
    assert texts == [identity(table[name]) for name in table]
    assert len(set(texts)) == len(texts)
