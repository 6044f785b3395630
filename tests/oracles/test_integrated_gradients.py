"""Integrated addends beside captum's integrated gradients of a layer's output.

Compared for similarities that are not divided by norms: where the library freezes the norms, captum follows the cosine
itself.
"""

import warnings

import pytest
import torch
from own_tails import CHANNELS, own_tail
from tiny_encoder import images
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.similarities import euclidean, inner_product

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import IntegratedGradients

pytestmark = pytest.mark.oracles


class Lead(nn.Module):
    """The lead of the first class over the second as a function of maps."""

    def __init__(self, network, pairwise, supports):
        super().__init__()
        self.network, self.pairwise, self.supports = network, pairwise, supports

    def forward(self, maps):
        found = self.pairwise(self.network.tail(maps, self.network.centers), self.supports)
        return found[:, 0] - found[:, 1]


@pytest.mark.parametrize("similarity", [inner_product, euclidean])
@pytest.mark.parametrize("tail", ["netvlad", "second-order", "max"])
def test_addends_are_those_of_captum(tail, similarity):
    network = own_tail(tail)
    encoder = Encoder.wrap(network, "maps", tail="network")
    query, shown = images(2, seed=1), images(2, 1, seed=2)
    found = explain(encoder, query, shown, method="contrast", target=0, against=1, similarity=similarity)
    supports = encoder(shown[:, 0]).embedding
    lead = Lead(network, similarity.pairwise, supports)
    theirs = IntegratedGradients(lead).attribute(encoder(query).maps, n_steps=512)
    assert theirs.shape == (2, CHANNELS, 3, 4)
    limit = 1e-8 if tail != "max" else 2e-4
    assert torch.allclose(found.cells, theirs.sum(dim=1), rtol=0, atol=limit)
    assert torch.allclose(found.contributions, theirs.sum(dim=(-2, -1)), rtol=0, atol=limit)
