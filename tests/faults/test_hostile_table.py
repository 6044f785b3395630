"""A sample of every class of hostile inputs, in this process: ``python tests/faults/hostile`` runs the whole table."""

from importlib import import_module
from itertools import islice

import pytest
from faults.hostile import runner

EVERY = 61
"""So many-th case of a class is run."""
CLASSES = {"annotations", "banks", "checkpoints", "configs", "embeddings", "images", "names"}


def test_every_class_has_its_module():
    assert set(runner.class_names()) >= CLASSES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", runner.class_names())
def test_a_sample_of_every_class_is_refused_in_one_sentence_or_right(name, tmp_path):
    wrong, ran = [], 0
    for case in islice(import_module(f"faults.hostile.{name}").cases(tmp_path), 0, None, EVERY):
        outcome, told = runner.judged(case)
        ran += 1
        if outcome in runner.FAULTS or (outcome == "refused" and (not told.strip() or "\n" in told)):
            wrong.append(f"{case[0]}: {outcome}: {told}")
    assert not wrong, "\n".join(wrong)
    assert ran
