"""A rule that is an object says itself how it votes: what is asked for beside it is the same, or refused."""

import jaxtyping
import pytest
import torch
from test_retrieval import QUERY, bank_of, encoder_of

from episodes.errors import Mistake
from fsl_explain.classifiers import KnnVote, MajorityVote, NearestNeighbor
from retrieval_explain import explain, inspect_neighbors, retrieve


@pytest.fixture
def asked():
    encoder = encoder_of()
    bank = bank_of(encoder)
    return lambda **options: explain(encoder, QUERY, bank, **options)


@pytest.mark.parametrize("rule", [KnnVote(k=3), MajorityVote(k=3)])
def test_two_numbers_of_voters_are_refused_and_one_is_taken(asked, rule):
    with pytest.raises(Mistake, match=r"6 neighbors are to vote, but the rule is .*k=3.*; give one of the two numbers"):
        asked(rule=rule, k=6)
    for options in ({"k": 3}, {}):
        assert torch.equal(asked(rule=rule, **options).score, asked(rule=rule.of(None), k=3).score)


@pytest.mark.parametrize("rule", [KnnVote(temperature=0.3), MajorityVote(), NearestNeighbor()])
def test_a_temperature_beside_a_rule_is_refused(asked, rule):
    with pytest.raises(
        Mistake, match=r"temperature=0\.5 is of a rule by name, but the rule is .*; set the temperature"
    ):
        asked(rule=rule, temperature=0.5)


def test_the_same_temperature_is_no_conflict(asked):
    expected = asked(rule="knn-vote", temperature=0.3, k=5).score
    assert torch.equal(asked(rule=KnnVote(temperature=0.3), temperature=0.3, k=5).score, expected)


def test_neighbors_that_were_found_for_another_number_of_voters_are_refused():
    encoder = encoder_of()
    retrieved = retrieve(encoder, QUERY, bank_of(encoder), k=6)
    with pytest.raises(Mistake, match="6 neighbors are to vote, but the rule is"):
        inspect_neighbors(retrieved, rule=KnnVote(k=3))


def test_a_class_in_place_of_a_rule_is_one_sentence(asked, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=r"as an object, but got a class; write KnnVote\(…\)"):
        asked(rule=KnnVote)
