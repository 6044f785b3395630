"""Pictures whose right answer a person can see: channel 0 copies red, channel 1 copies green."""

import pytest
import torch
from torch import nn

from fsl_explain import Encoder, explain

SIDE = 4
RED, GREEN, BLUE = torch.eye(3)


def colors(encoder_channels=2):
    network = nn.Sequential(nn.Conv2d(3, encoder_channels, kernel_size=1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(3)[:encoder_channels, :, None, None])
    return Encoder.wrap(network, "0")


def painted(left, right):
    """An image whose left half has one color and whose right half another."""
    image = torch.empty(3, SIDE, SIDE)
    image[:, :, : SIDE // 2], image[:, :, SIDE // 2 :] = left[:, None, None], right[:, None, None]
    return image


def plain(color):
    return painted(color, color)


@pytest.mark.parametrize("method", ["fam", "exact", "grad-cam"])
@pytest.mark.parametrize(("color", "half"), [(RED, 0), (GREEN, 1)], ids=["red", "green"])
def test_the_map_lies_where_the_matching_channel_fires(method, color, half):
    image = painted(RED, GREEN)
    explanation = explain(colors(), image, plain(color)[None, None], method=method)
    assert explanation.decision.label == 0
    assert torch.equal(explanation.saliency > 0, image[half] > 0)
    assert (explanation.contributions > 0).tolist() == [half == 0, half == 1]


@pytest.mark.parametrize("method", ["fam", "exact", "contrast"])
def test_the_decision_follows_the_larger_part(method):
    image = painted(RED, GREEN)
    image[:, :, 2] = RED[:, None]
    supports = {"red": plain(RED)[None], "green": plain(GREEN)[None]}
    explanation = explain(colors(), image, supports, method=method)
    assert explanation.decision.name == "red"
    assert torch.equal(explanation.saliency > 0, image[0] > 0)


def test_in_a_contrast_the_half_that_matches_the_rival_is_negative():
    image = painted(RED, GREEN)
    supports = {"red": plain(RED)[None], "green": plain(GREEN)[None]}
    for target, rival, half in (("red", "green", 0), ("green", "red", 1)):
        explanation = explain(colors(), image, supports, method="contrast", target=target, against=rival)
        assert torch.equal(explanation.saliency > 0, image[half] > 0)
        assert torch.equal(explanation.saliency < 0, image[1 - half] > 0)
        assert float(explanation.score) == pytest.approx(0, abs=1e-6)


def test_what_both_classes_share_has_no_say_in_their_contrast():
    image = painted(BLUE, RED)
    supports = {"blue and red": painted(BLUE, RED)[None], "blue and green": painted(BLUE, GREEN)[None]}
    explanation = explain(colors(3), image, supports, method="contrast")
    assert explanation.decision.name == "blue and red"
    assert torch.equal(explanation.saliency.abs() > 1e-7, image[0] > 0)
    assert (explain(colors(3), image, supports, method="exact").saliency > 0).all()


def test_the_support_side_lies_where_the_support_matches_the_query():
    support = painted(RED, GREEN)
    explanation = explain(colors(), plain(RED), support[None, None])
    assert torch.equal(explanation.support_cells[0, 0] > 0, support[0] > 0)


def test_a_head_that_swaps_the_channels_swaps_their_contributions():
    """The embedding's first dimension is green: the support that is green matches the green half all the same."""
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    encoder, image = colors(), painted(RED, GREEN)
    encoder.head = head
    for method in ("fam", "exact"):
        explanation = explain(encoder, image, plain(GREEN)[None, None], method=method)
        assert torch.equal(explanation.saliency > 0, image[1] > 0)
        assert (explanation.contributions > 0).tolist() == [False, True]


def test_the_maximum_of_a_channel_is_the_only_cell_that_counts_under_max_pooling():
    image = torch.zeros(3, SIDE, SIDE)
    image[0] = 0.2
    image[0, 1, 2] = 0.9
    encoder = colors()
    encoder = Encoder.wrap(encoder.network, "0", pooling="gmp")
    cells = explain(encoder, image, plain(RED)[None, None]).cells
    assert (cells != 0).nonzero().tolist() == [[1, 2]]
    assert float(cells[1, 2]) == pytest.approx(1)
