import pytest
import torch

from fsl_explain.explainers.contrast_weights import class_index, rival_weights, runner_up

CLASSES = ("a", "b", "c", "d")
SCORES = torch.tensor([[0.1, 0.9, 0.5, 0.5], [0.4, 0.4, 0.4, 0.4]])
TARGET = torch.tensor([1, 0])


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        (None, [[0, 0, 1, 0], [0, 1, 0, 0]]),
        ("others", [[1 / 3, 0, 1 / 3, 1 / 3], [0, 1 / 3, 1 / 3, 1 / 3]]),
        ("c", [[0, 0, 1, 0], [0, 0, 1, 0]]),
        (3, [[0, 0, 0, 1], [0, 0, 0, 1]]),
        (["c", 3], [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]),
        (("c", 2, "c"), [[0, 0, 1, 0], [0, 0, 1, 0]]),
    ],
    ids=str,
)
def test_shares_of_the_rivals(against, expected):
    """The runner-up is the best-scoring other class, the first of several; a class named twice counts once."""
    weights = rival_weights(SCORES, TARGET, against, CLASSES)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2))
    assert weights.gather(-1, TARGET[:, None]).abs().max() == 0


def test_a_class_named_others_is_reached_by_its_index():
    weights = rival_weights(SCORES[:, :3], TARGET, 2, ("a", "b", "others"))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0, 1], [0, 0, 1]]))


def test_a_losing_target_is_set_against_the_winner():
    assert runner_up(SCORES[:1], torch.tensor([0])).tolist() == [[0, 1, 0, 0]]


def test_classes_by_name_and_index():
    assert [class_index(reference, CLASSES) for reference in ("a", "d", 0, 3)] == [0, 3, 0, 3]


def test_one_query_whose_target_is_among_the_rivals_is_enough_for_an_error():
    with pytest.raises(ValueError, match="a class cannot be contrasted with itself, but b is both"):
        rival_weights(SCORES, TARGET, ["b", "d"], CLASSES)
