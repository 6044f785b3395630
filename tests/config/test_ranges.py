"""Every whole number in a configuration has a least and a largest value, read off the schemas of all models."""

import pytest
from pydantic import ValidationError

from fsl_explain.cli.commands.config import MODELS as EXPLAIN
from fsl_explain.config.example import schema
from fsl_explain.config.training import OptimizerConfig
from retrieval_explain.cli.commands.config import MODELS as RETRIEVAL

CHECKED_ELSEWHERE = {("OptimizerConfig", "rates")}
"""Epochs, which lie between 1 and the number of epochs."""


def _whole_numbers(node):
    if isinstance(node, dict):
        if node.get("type") == "integer":
            yield node
        for inner in node.values():
            yield from _whole_numbers(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _whole_numbers(inner)


def _all():
    for models in (EXPLAIN, RETRIEVAL):
        for model in models.values():
            given = schema(model)
            for name, definition in {model.__name__: given, **given["$defs"]}.items():
                for key, field in definition.get("properties", {}).items():
                    yield from (((name, key), node) for node in _whole_numbers(field))


def test_every_whole_number_has_a_least_and_a_largest_value():
    found = list(_all())
    assert len({place for place, _ in found}) > 20
    without = {
        place
        for place, node in found
        if not {"minimum", "exclusiveMinimum"} & set(node) or not {"maximum", "exclusiveMaximum"} & set(node)
    }
    assert without == CHECKED_ELSEWHERE


@pytest.mark.parametrize("epoch", [-1, 0, 20, 10**30])
def test_epochs_of_rates_lie_within_the_training(epoch):
    with pytest.raises(ValidationError, match="expected rates at rising epochs between 1 and 19"):
        OptimizerConfig(schedule="steps", epochs=20, rates=((epoch, 0.1),))
