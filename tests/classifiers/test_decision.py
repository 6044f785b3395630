import numpy as np
import pytest
import torch
from tiny_encoder import images, tiny_encoder

from fsl_explain.classifiers import RULES, SupportSet, combined, decide, padded_index, support_set
from fsl_explain.classifiers.prototypes import SPREAD
from fsl_explain.similarities import SIMILARITIES


def test_the_largest_score_wins_and_the_lowest_index_breaks_a_tie():
    decision = decide(torch.tensor([[0.1, 0.7, 0.7], [0.5, 0.5, 0.5], [-3.0, -2.0, -1.0]]), ("a", "b", "c"))
    assert decision.label.tolist() == [1, 0, 2]


def test_a_single_decision_has_a_name():
    decision = decide(torch.tensor([0.1, 0.7]), ("crow", "jay"))
    assert (decision.label, decision.name) == (1, "jay")


def test_padding_repeats_the_first_support_of_its_own_class():
    index, valid = padded_index([2, 1, 3])
    assert index.tolist() == [[0, 1, 0], [2, 2, 2], [3, 4, 5]]
    assert valid.tolist() == [[True, True, False], [True, False, False], [True, True, True]]


def test_supports_are_gathered_class_by_class_in_double_precision():
    features = tiny_encoder(dtype=torch.float32)(images(5, seed=1, dtype=torch.float32))
    supports = support_set(features, [2, 3], ("a", "b"))
    assert supports.embeddings.dtype == torch.float64
    assert torch.equal(supports.embeddings[1, 2], features.embedding[4].double())
    assert torch.equal(supports.features.maps[0, 1], features.maps[1])
    assert supports.valid.tolist() == [[True, True, False], [True, True, True]]


def test_mean_similarity_and_prototype_differ_where_lengths_do():
    """Two supports of one class, one along the query and short, one across it and long."""
    supports = SupportSet(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]), torch.ones(1, 2, dtype=torch.bool), ("a",))
    query, cosine = torch.tensor([[1.0, 0.0]]), SIMILARITIES["cosine"]
    mean, prototype = (RULES[name].class_scores(query, supports, cosine) for name in ("mean-similarity", "prototype"))
    assert float(mean) == pytest.approx(0.5)
    assert float(prototype) == pytest.approx(1 / 10**0.5)
    found = RULES["prototype"].weights(torch.ones(1, 1), query, supports, cosine)
    assert found.supports[0, 0].tolist() == pytest.approx([1 / 10**0.5, 3 / 10**0.5])
    assert found.constants[SPREAD].tolist() == [0]


def test_the_euclidean_prototype_adds_the_variance_of_the_class():
    supports = SupportSet(torch.tensor([[[1.0, 0.0], [3.0, 0.0]]]), torch.ones(1, 2, dtype=torch.bool), ("a",))
    query, euclidean = torch.tensor([[2.0, 1.0]]), SIMILARITIES["euclidean"]
    assert float(RULES["prototype"].class_scores(query, supports, euclidean)) == pytest.approx(-1)
    assert float(RULES["mean-similarity"].class_scores(query, supports, euclidean)) == pytest.approx(-2)
    weights = RULES["prototype"].weights(torch.tensor([[2.0]]), query, supports, euclidean)
    assert float(weights.constants[SPREAD]) == pytest.approx(2)


def test_supports_that_cancel_have_a_prototype_without_any_say_under_cosine():
    supports = SupportSet(
        torch.tensor([[[1.0, 2.0], [-1.0, -2.0]], [[1.0, 0.0], [0.0, 1.0]]]), torch.ones(2, 2).bool(), ("a", "b")
    )
    query, prototype = torch.tensor([[3.0, 1.0]]), RULES["prototype"]
    scores = prototype.class_scores(query, supports, SIMILARITIES["cosine"])
    assert scores[0].tolist() == [0, pytest.approx(4 / 20**0.5)]
    weights = prototype.weights(torch.ones(1, 2), query, supports, SIMILARITIES["cosine"])
    assert weights.supports[0, 0].tolist() == [0, 0]
    assert not weights.supports.isnan().any()


def test_a_class_of_weight_zero_has_no_say_though_its_score_be_infinite():
    scores = torch.tensor([[2.0, -torch.inf, 4.0], [1.0, 2.0, -torch.inf]])
    weights = torch.tensor([[1.0, 0.0, -0.5], [0.5, 1.0, 0.0]])
    assert combined(weights, scores).tolist() == [0, 2.5]


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "nearest-neighbor", "knn-vote", "majority-vote"])
def test_a_class_without_supports_scores_minus_infinity(rule):
    """A support audit leaves a class's only support out."""
    supports = SupportSet(torch.ones(2, 2, 3), torch.tensor([[True, True], [False, False]]), ("there", "gone"))
    scores = RULES[rule].class_scores(torch.ones(1, 3), supports, SIMILARITIES["cosine"])
    assert scores.isneginf().tolist() == [[False, True]]


def test_a_batch_has_names_and_one_decision_a_name():
    scores = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    batch, one = decide(scores, ("wren", "tern")), decide(scores[0], ("wren", "tern"))
    assert batch.names == ["tern", "wren"]
    assert (one.name, one.names) == ("tern", ["tern"])
    assert decide(scores[None], ("wren", "tern")).names == [["tern", "wren"]]
    with pytest.raises(ValueError, match=r"expected the decision of one query, but got those of \(2,\); use decision"):
        _ = batch.name


@pytest.mark.parametrize(
    ("scores", "classes"), [((3,), ("a", "b")), ((2, 2), ("a", "b", "c")), ((0,), ())], ids=["few", "many", "none"]
)
def test_every_score_has_the_name_of_its_class(scores, classes):
    sentence = rf"but got {len(classes)} names and {scores[-1]} scores"
    with pytest.raises(ValueError, match=sentence):
        decide(torch.zeros(scores), classes)


@pytest.mark.parametrize(
    ("shots", "classes"),
    [([2, 2], "ab"), ([2, 4], "ab"), ([5], "ab"), ([2, 3], "abc")],
    ids=["fewer", "more", "one", "names"],
)
def test_numbers_of_supports_that_do_not_fit_are_refused(shots, classes):
    """Fewer shots than features would leave supports out, and nobody would see it."""
    features = tiny_encoder()(images(5, seed=1))
    with pytest.raises(ValueError, match=r"expected supports of . classes, 5 in all, but got the numbers of shots \["):
        support_set(features, shots, tuple(classes))


@pytest.mark.parametrize("shots", [[], [3, 0], [2, -1]], ids=str)
def test_a_class_without_supports_has_no_padding(shots):
    with pytest.raises(ValueError, match=r"expected at least one support of each class, but got the numbers \["):
        padded_index(shots)


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor], ids=["tuple", "array", "tensor"])
def test_numbers_of_supports_may_come_in_an_array(kind, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    index, valid = padded_index(kind([2, 1]))
    assert (index.tolist(), valid.tolist()) == ([[0, 1], [2, 2]], [[True, True], [True, False]])
    features = tiny_encoder()(images(3, seed=1))
    assert torch.equal(support_set(features, kind([2, 1]), ("a", "b")).valid, valid)
