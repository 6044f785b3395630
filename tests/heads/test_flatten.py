"""Flattened maps: a head over all cells has exact addends, a cell's share being its own numbers."""

import pytest
import torch
from tiny_encoder import CHANNELS, OF_MAPS, images, random_batch_norm, tiny_encoder
from torch import nn

from fsl_explain import Encoder, Mistake, correspondence, counterfactual, explain
from fsl_explain.heads import POOLINGS, Pooling

CELLS = 12
WIDTH = CHANNELS * CELLS
FLAT = POOLINGS["flatten"]


def maps_of(*leading, seed=0):
    return torch.randn(*leading, 3, 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_plays_its_role():
    assert isinstance(FLAT, Pooling)
    maps = maps_of(5)
    assert torch.equal(FLAT(maps), maps.flatten(1))
    assert torch.equal(FLAT.shares(maps).sum(dim=(-2, -1)), FLAT(maps))


def test_a_share_is_the_activation_at_its_own_cell():
    maps = maps_of()
    shares = FLAT.shares(maps)
    for number in range(24):
        channel, row, column = number // 8, number % 8 // 4, number % 4
        expected = torch.zeros(2, 4).double()
        expected[row, column] = maps[channel, row, column]
        assert torch.equal(shares[number], expected)


@pytest.mark.parametrize("leading", [(), (2,), (5, 2)])
def test_spread_is_the_weighted_sum_of_the_shares(leading):
    maps = maps_of(2)
    weights = torch.randn(*leading, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = (weights[..., None, None] * FLAT.shares(maps)).sum(dim=-3)
    assert torch.allclose(FLAT.spread(maps, weights), expected, rtol=0, atol=1e-12)


def arcface_head():
    """What ArcFace puts behind its maps: a linear layer over all of them and a batch normalization."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(WIDTH, 5), random_batch_norm(5))
    return head.double().eval()


@pytest.mark.parametrize("head", [arcface_head, lambda: None], ids=["arcface", "none"])
def test_contributions_are_of_channels_and_cells_add_up(head):
    encoder = tiny_encoder(head(), "flatten")
    assert encoder(images(1)).embedding.shape == (1, 5 if head() else WIDTH)
    found = explain(encoder, images(2, seed=1), images(2, 3, seed=2), method="contrast")
    assert found.contributions.shape == (2, CHANNELS)
    assert found.cells.shape == (2, 3, 4)
    assert (found.residual < 1e-12).all()
    for cells, bias in ((found.cells, found.bias), (found.support_cells, found.support_bias)):
        assert torch.allclose(cells.flatten(1).sum(1) + bias, found.score, rtol=0, atol=1e-12)


def test_cells_are_those_of_the_same_network_integrated():
    """Behind a linear tail the integral is exact, and knows nothing of a pooling."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = tiny_encoder().network.double()
            self.head = arcface_head()

        def forward(self, batch):
            kept = self.maps.activation(self.maps.norm(self.maps.conv(batch)))
            return self.head(kept)

    network = Whole()
    whole = Encoder.wrap(network, "maps.activation", tail="network")
    parts = tiny_encoder(arcface_head(), "flatten")
    query, shown = images(2, seed=1), images(2, 3, seed=2)
    for method in ("exact", "contrast"):
        known, found = (explain(encoder, query, shown, method=method) for encoder in (whole, parts))
        for name in ("contributions", "cells", "bias", "support_cells", "support_bias"):
            assert torch.allclose(getattr(found, name), getattr(known, name), rtol=0, atol=1e-12), name


def test_a_correspondence_and_a_counterfactual_take_it():
    encoder = tiny_encoder(arcface_head(), "flatten")
    supports = {"a": images(2, seed=2), "b": images(1, seed=3)}
    found = explain(encoder, images(seed=1), supports)
    one = correspondence(found)
    assert float(one.table.sum()) == pytest.approx(one.weight * one.similarity)
    assert one.shape == one.support_shape == (3, 4)
    changed = counterfactual(encoder, images(seed=1), supports)
    assert int(changed.scores_before.argmax()) == changed.target
    if changed.cells:
        assert int(changed.scores_at_features.argmax()) == changed.rival


@pytest.mark.parametrize("method", OF_MAPS)
def test_methods_take_it_or_say_what_to_do(method):
    encoder = tiny_encoder(nn.Linear(WIDTH, 5), "flatten")
    threshold = 0.25 if method == "verification" else None
    if method in ("fam", "ablation-cam"):
        with pytest.raises(Mistake, match=f"{method} needs one pooled value a map, but the pooling flatten"):
            explain(encoder, images(seed=1), images(2, 1, seed=2), method=method)
        return
    found = explain(encoder, images(seed=1), images(2, 1, seed=2), method=method, threshold=threshold)
    assert found.contributions.shape == (CHANNELS,)


def test_an_embedding_of_conv4_has_1600_numbers():
    encoder = Encoder.named("conv4net", pooling="flatten")
    batch = torch.randn(3, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    assert encoder(batch).embedding.shape == (3, 1600)
    found = explain(encoder, batch[0], batch[1:, None])
    assert found.residual <= 1e-5 * found.absolute_sum
