"""Methods, and explanations with parts of one's own, in a pickle and in a copy."""

import copy
import pickle

import jaxtyping
import pytest
import torch
from decision_parts import OPTIONS
from test_saved_explanations import OwnRule, OwnSimilarity, made
from tiny_encoder import OF_MAPS

from fsl_explain import correspondence, support_audit
from fsl_explain.explainers import METHODS


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_pickle_and_a_copy_keep_what_has_no_name(copied):
    for explanation in (made(similarity=OwnSimilarity()), made(rule=OwnRule())):
        assert str(support_audit(copied(copied(explanation)))) == str(support_audit(explanation))
    unpicklable = OwnRule()
    unpicklable.stream = open(__file__)  # noqa: PTH123, SIM115
    with unpicklable.stream, pytest.raises(ValueError, match="rule OwnRule has no name and was not saved"):
        support_audit(copied(made(rule=unpicklable)))


@pytest.mark.parametrize("name", OF_MAPS)
def test_every_method_can_be_sent_to_another_process(name):
    sent = pickle.loads(pickle.dumps(METHODS[name]))
    assert torch.equal(made(sent, **OPTIONS.get(name, {})).saliency, made(name, **OPTIONS.get(name, {})).saliency)


def test_what_is_no_explanation_is_one_sentence(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for ask in (support_audit, correspondence):
        with pytest.raises(TypeError, match=r"expected an explanation, as explain\(\) returns it, but got int"):
            ask(1)
