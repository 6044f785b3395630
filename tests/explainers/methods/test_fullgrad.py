"""FullGrad: its parts add up where they should, lie where they act, and make the map."""

import pytest
import torch
from staged_network import SIDE, Scores, pictures, staged_encoder
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.explainers.methods.fullgrad import full_gradient_map, full_gradients, rescaled
from fsl_explain.explainers.methods.whole_network import images_of

QUERY, SUPPORTS = pictures(seed=1), pictures(3, 2, seed=2)


def question_of(encoder, **options):
    return explain(encoder, QUERY, SUPPORTS, target=1, **options).question


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("head", [None, nn.Linear(6, 4), nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))])
def test_full_gradients_add_up_to_an_inner_product(head, in_place):
    """Of input and biases, those of the head too, where all is linear but for ReLUs."""
    encoder = staged_encoder(head, in_place=in_place)
    question = question_of(encoder, similarity="inner-product")
    parts = full_gradients(question, images_of(question))
    total = parts.pixels.sum() + sum(one.sum() for one in parts.biases) + parts.elsewhere.sum()
    torch.testing.assert_close(total, question.explained.value)
    assert len(parts.biases) == 4  # two convolutions and two batch normalizations
    assert (parts.elsewhere == 0).all() == (head is None)


def test_full_gradients_of_a_cosine_sum_to_zero():
    question = question_of(staged_encoder())
    parts = full_gradients(question, images_of(question))
    total = parts.pixels.sum() + sum(one.sum() for one in parts.biases)
    torch.testing.assert_close(total, torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)


class WithNorms(nn.Module):
    """Biases of layer norms, linear layers on cells and group norms, as modern networks have them."""

    def __init__(self):
        super().__init__()
        self.first, self.groups = nn.Conv2d(3, 4, 2, stride=2), nn.GroupNorm(2, 4)
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 5)
        for one in (self.groups, self.norm):
            nn.init.normal_(one.bias)

    def forward(self, images):
        maps = self.groups(self.first(images)).permute(0, 2, 3, 1)
        return self.linear(self.norm(maps)).permute(0, 3, 1, 2)


def test_biases_of_other_layers_are_drawn_where_they_act():
    """Each is the derivative of the score by a constant that is added to what the layer returns, times it."""
    network = WithNorms().double()
    question = question_of(Encoder.wrap(network, layout="channels-first"))
    parts = full_gradients(question, images_of(question))
    assert [tuple(one.shape) for one in parts.biases] == [(1, c, 6, 6) for c in (4, 4, 4, 5)]
    for layer, part in zip((network.first, network.groups, network.norm, network.linear), parts.biases, strict=True):
        score = Scores(Encoder.wrap(network, layout="channels-first"), SUPPORTS)(QUERY[None])[0, 1]
        (slope,) = torch.autograd.grad(score, layer.bias)
        torch.testing.assert_close(part.sum(dim=(0, 2, 3)), slope * layer.bias.detach())


def test_each_channel_is_stretched_and_an_even_one_says_nothing():
    values = torch.tensor([[[[1.0, -3.0], [2.0, 1.0]], [[4.0, 4.0], [-4.0, 4.0]]]])
    assert rescaled(values)[0].tolist() == [[[0, 1], [0.5, 0]], [[0, 0], [0, 0]]]


def test_the_full_gradient_map_is_the_sum_of_all_parts_enlarged():
    question = question_of(staged_encoder())
    parts = full_gradients(question, images_of(question))
    expected = sum(rescaled(parts.pixels)[0])
    for one in parts.biases:
        for channel in rescaled(one)[0]:
            expected = expected + nn.functional.interpolate(channel[None, None], SIDE, mode="bilinear")[0, 0]
    torch.testing.assert_close(full_gradient_map(parts)[0], expected)
