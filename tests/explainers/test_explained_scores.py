"""Which number is explained: a score, a lead, a log-probability, a distance to a threshold."""

import math

import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.explainers.explained_score import ENTROPY, THRESHOLD, lead_over, log_probability

SUPPORTS = {"crow": images(3, seed=20), "jay": images(1, seed=21), "wren": images(2, seed=22)}


def explained(method, queries=2, **choice):
    return explain(tiny_encoder(random_head("linear")), images(queries, seed=10), SUPPORTS, method=method, **choice)


@pytest.mark.parametrize("target", [None, 0, 1, 2])
@pytest.mark.parametrize("scale", [0.5, 7.0, 30.0])
def test_a_log_probability_is_that_of_the_softmax_of_the_scaled_scores(scale, target):
    found = explained("log-probability", scale=scale, target=target)
    for i, scores in enumerate(found.decision.scores.tolist()):
        powers = [math.exp(scale * score) for score in scores]
        probabilities = [power / sum(powers) for power in powers]
        chosen = scores.index(max(scores)) if target is None else target
        assert float(found.score[i]) == pytest.approx(math.log(probabilities[chosen]), rel=1e-9)
        entropy = -sum(p * math.log(p) for p in probabilities)
        assert float(found.constants[ENTROPY][i]) == pytest.approx(-entropy, rel=1e-9)
        expected = sum(p * score for p, score in zip(probabilities, scores, strict=True))
        identity = scale * (scores[chosen] - expected) - entropy
        assert float(found.score[i]) == pytest.approx(identity, rel=1e-9)
        shares = found.question.explained.class_weights[i].tolist()
        deltas = [scale * ((c == chosen) - p) for c, p in enumerate(probabilities)]
        assert shares == pytest.approx(deltas, rel=1e-9)


@pytest.mark.parametrize("lead", [5.0, 40.0, 400.0])
def test_a_log_probability_near_zero_adds_up_to_its_own_size(lead):
    """The winner's probability is 1 but for e^-lead, so that 1 - p would be rounding alone."""
    scores = torch.tensor([[lead, 0.0, -1.0]], dtype=torch.float64)
    found = log_probability(scores, torch.tensor([0]), 1.0)
    odds = math.exp(-lead) + math.exp(-lead - 1)
    assert float(found.value) == pytest.approx(-math.log1p(odds), rel=1e-12)
    addends = [*(found.class_weights * scores)[0].tolist(), float(found.constants[ENTROPY])]
    assert abs(sum(addends) - float(found.value)) <= 1e-12 * sum(map(abs, addends))


def test_the_log_probability_of_a_lost_class_is_minus_its_lag():
    scores = torch.tensor([[400.0, 0.0]], dtype=torch.float64)
    found = log_probability(scores, torch.tensor([1]), 1.0)
    assert float(found.value) == -400
    assert found.class_weights.tolist() == [[-1, 1]]
    assert float(found.constants[ENTROPY]) == pytest.approx(0, abs=1e-12)


def test_a_class_without_a_vote_has_no_probability():
    scores = torch.tensor([[2.0, -torch.inf, 1.0]], dtype=torch.float64)
    found = log_probability(scores, torch.tensor([0]), 1.0)
    without = log_probability(scores[:, [0, 2]], torch.tensor([0]), 1.0)
    assert float(found.value) == pytest.approx(float(without.value))
    assert found.class_weights[0, 1] == 0
    assert float(found.constants[ENTROPY]) == pytest.approx(float(without.constants[ENTROPY]))


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 2.0])
def test_a_verification_is_the_score_less_the_threshold(threshold):
    found, plain = explained("verification", threshold=threshold, target="jay"), explained("exact", target="jay")
    torch.testing.assert_close(found.score, plain.score - threshold)
    torch.testing.assert_close(found.bias, plain.bias - threshold)
    torch.testing.assert_close(found.cells, plain.cells)
    assert found.constants[THRESHOLD].tolist() == [-threshold] * 2


def test_a_lead_is_over_the_mean_of_the_rivals_that_are_heard():
    scores = torch.tensor([[3.0, 1.0, -torch.inf, 2.0]])
    ranking = torch.tensor([[5.0, 1.0, 0.0, 3.0]])
    lead = lead_over(scores, ranking, torch.tensor([0]), "others", ("a", "b", "c", "d"))
    assert lead.rivals.tolist() == [[0, 0.5, 0, 0.5]]
    assert lead.value.tolist() == [1.5]
    assert lead.class_weights.tolist() == [[1, -0.5, 0, -0.5]]


def test_the_runner_up_is_the_runner_up_of_the_decision():
    """A majority vote decides by number, though it is explained by the mean of the voters."""
    scores = torch.tensor([[1.0, 9.0, 2.0]])
    counts = torch.tensor([[5.0, 1.0, 3.0]])
    lead = lead_over(scores, counts, torch.tensor([0]), None, ("a", "b", "c"))
    assert lead.rivals.tolist() == [[0, 0, 1]]
    assert lead.value.tolist() == [-1]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_log_probability_needs_a_scale(scale):
    with pytest.raises(ValueError, match=r"a log-probability needs a scale above 0 and below infinity, but got"):
        explained("log-probability", scale=scale)


def test_a_verification_needs_a_threshold_and_nothing_else_takes_one():
    with pytest.raises(ValueError, match=r"a verification needs the threshold it was decided with; give threshold"):
        explained("verification")
    for threshold in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"a verification needs a finite threshold, but got"):
            explained("verification", threshold=threshold)
    with pytest.raises(
        ValueError, match=r"threshold belongs to method='verification', but method is 'exact'; drop thr"
    ):
        explained("exact", threshold=0.5)
