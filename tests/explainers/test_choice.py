"""A choice turned into a question: which options it keeps, who is the rival, and which covariance is fitted."""

import pytest
import torch
from tiny_encoder import images, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import MajorityVote
from fsl_explain.explainers.choice import Choice, find_similarity
from fsl_explain.explainers.compared import compare
from fsl_explain.similarities import Mahalanobis


@pytest.mark.parametrize(
    ("explains", "against", "threshold"),
    [("score", None, None), ("contrast", "b", None), ("log-probability", None, None), ("verification", None, 0.5)],
)
def test_a_choice_keeps_the_options_of_the_number_that_is_explained(explains, against, threshold):
    choice = Choice("prototype", "euclidean", "a", "b", 7.0, 0.5)
    assert choice.meant_for(explains) == Choice("prototype", "euclidean", "a", against, 7.0, threshold)


def test_the_runner_up_of_a_majority_vote_is_the_second_in_votes():
    supports = {name: images(shots, seed=20 + shots) for name, shots in {"a": 5, "b": 2, "c": 4, "d": 3}.items()}
    found = explain(tiny_encoder(), images(12, seed=10), supports, method="contrast", rule=MajorityVote(k=7))
    votes = found.decision.scores.scatter(-1, found.target[:, None], -1.0)
    assert torch.equal(found.against.argmax(dim=-1), votes.argmax(dim=-1))
    asked = found.question
    likeness = MajorityVote(k=7).class_scores(asked.query.embedding, asked.supports, asked.similarity)
    closest = likeness.scatter(-1, found.target[:, None], -torch.inf).argmax(dim=-1)
    assert not torch.equal(found.against.argmax(dim=-1), closest), "the example has to tell votes from likeness"


def test_a_covariance_by_name_is_fitted_around_the_class_means_without_padding():
    supports = {"a": images(4, seed=1), "b": 2 + images(3, seed=2)}
    encoder = tiny_encoder()
    compared = compare(encoder, images(1, seed=3), supports, "mahalanobis")
    embeddings = encoder(torch.cat(list(supports.values()))).embedding
    expected = Mahalanobis.fit(embeddings, torch.tensor([0, 0, 0, 0, 1, 1, 1])).precision
    found = find_similarity("mahalanobis", compared).precision
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(expected, Mahalanobis.fit(embeddings).precision, rtol=0.01)
