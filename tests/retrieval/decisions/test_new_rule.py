"""A rule over neighbors is one class and one registration: explained, inspected and evaluated by name."""

from dataclasses import dataclass

import pytest
import torch
from tiny_encoder import images, tiny_encoder

from episodes import DigitScenes
from fsl_explain.classifiers import RULES, KnnVote, MajorityVote, Vote, neighbor_rules, votes
from fsl_explain.similarities import Mahalanobis
from retrieval_explain import MemoryBank
from retrieval_explain.cli.evaluate import bank_of
from retrieval_explain.decisions.explained_neighbors import explain, retrieve
from retrieval_explain.evaluation.evaluation_tables import bank_tables, summarize_bank
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank
from retrieval_explain.inspection.inspected import inspect_neighbors
from retrieval_explain.settings import BankEvaluationConfig


@dataclass(frozen=True)
class WarmVote(KnnVote):
    """The weighted vote of another temperature, whose name nothing in this software has heard of."""

    temperature: float = 0.5


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(RULES, "warm-vote", WarmVote())


def test_it_is_known_by_name():
    assert isinstance(RULES["warm-vote"], Vote)
    assert "warm-vote" in neighbor_rules()
    assert "warm-vote" in votes()


def test_it_is_explained_and_inspected_like_the_rule_itself():
    encoder, query = tiny_encoder(dtype=torch.float32), images(seed=4, dtype=torch.float32)
    gallery = encoder(images(6, seed=3, dtype=torch.float32)).embedding
    bank = MemoryBank.from_embeddings(gallery, ["oak", "elm", "oak", "elm", "oak", "ash"])
    expected = explain(encoder, query, bank, method="contrast", rule=KnnVote(temperature=0.5))
    assert torch.equal(explain(encoder, query, bank, method="contrast", rule="warm-vote").cells, expected.cells)
    inspected = inspect_neighbors(retrieve(encoder, query, bank), rule="warm-vote").vote
    assert torch.equal(inspected.explanations["contrast"].cells, expected.cells)


def test_it_is_evaluated_by_name():
    asked = {"data": {"kind": "digit-scenes"}, "explanation": {"methods": ["exact"]}}
    decision = {"rules": ["warm-vote", "knn-vote"], "k": 5, "temperature": 0.5}
    config = BankEvaluationConfig.model_validate(asked | {"decision": decision})
    scenes = DigitScenes(part="novel", per_class=2, size=32)
    measured = bank_of(config, tiny_encoder(dtype=torch.float32), scenes, limit=4)
    ours, theirs = measured.rules
    assert torch.equal(ours.chosen.score, theirs.chosen.score)
    titles = [table.title for table in bank_tables(summarize_bank(measured), "small")]
    assert "small: warm-vote" in titles


@pytest.mark.parametrize("rule", [KnnVote(k=2), MajorityVote(k=2), WarmVote(k=3)])
def test_a_rule_of_its_own_number_of_neighbors_decides_and_is_explained_by_them(rule):
    scenes, encoder = DigitScenes(part="novel", per_class=4, size=32), tiny_encoder(dtype=torch.float32)
    options = {"methods": ["contrast"], "limit": 12}
    (own,) = evaluate_bank(encoder, scenes, rules=[rule], k=7, **options).rules
    (all_of_them,) = evaluate_bank(encoder, scenes, rules=[rule.of(None)], k=rule.k, **options).rules
    assert torch.equal(own.chosen.predicted, all_of_them.chosen.predicted)
    assert torch.equal(own.chosen.lead, all_of_them.chosen.lead)
    torch.testing.assert_close(own.masked_score, all_of_them.masked_score, equal_nan=True)


def test_more_neighbors_than_a_vote_can_be_explained_by_are_refused():
    scenes, encoder = DigitScenes(part="novel", per_class=2, size=32), tiny_encoder(dtype=torch.float32)
    with pytest.raises(ValueError, match="1 to 200 neighbors and a temperature above 0, but got 1 rules, k = 201"):
        evaluate_bank(encoder, scenes, rules=["knn-vote"], k=201)
    with pytest.raises(ValueError, match="expected a vote of 1 to 200 neighbors, but got one of 201"):
        evaluate_bank(encoder, scenes, rules=[KnnVote(k=201)], k=3)


def test_a_bank_whose_similarity_is_no_sum_over_channels_is_inspected_without_fam():
    encoder, query = tiny_encoder(dtype=torch.float32), images(seed=4, dtype=torch.float32)
    gallery = encoder(images(6, seed=3, dtype=torch.float32)).embedding
    distance = Mahalanobis(2 * torch.eye(gallery.shape[1], dtype=torch.float64))
    bank = MemoryBank.from_embeddings(gallery, ["oak", "elm"] * 3, similarity=distance)
    asked = inspect_neighbors(retrieve(encoder, query, bank)).vote.explanations
    plain = MemoryBank.from_embeddings(gallery, ["oak", "elm"] * 3, similarity="euclidean")
    usual = inspect_neighbors(retrieve(encoder, query, plain)).vote.explanations
    assert [*usual] == ["contrast", "exact", "fam", "lafam"]
    assert [*asked] == ["contrast", "exact", "lafam"]
