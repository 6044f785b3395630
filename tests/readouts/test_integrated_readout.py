"""The readout ``integrated``: the patches as they are last read, and all that the network does behind them."""

import pytest
import torch
from token_networks import token_encoder, token_images
from torch import nn

from fsl_explain import Encoder, Mistake, explain

NETWORKS = ("timm vit", "timm cait", "torchvision vit", "timm mean", "transformers siglip")


@pytest.mark.parametrize("name", NETWORKS)
def test_it_adds_up_to_the_networks_own_decision(name):
    own = token_encoder(name, None, torch.float64)
    encoder = Encoder.wrap(own.network, readout="integrated")
    query, supports = token_images(1).double(), token_images(4, seed=1).double().unflatten(0, (2, 2))
    torch.testing.assert_close(encoder(query).embedding, own(query).embedding)
    found = explain(encoder, query[0], supports, method="contrast")
    assert found.cells.shape == explain(own, query[0], supports, method="contrast").cells.shape
    total = found.cells.sum() + found.bias
    terms = found.cells.abs().sum() + found.bias.abs()
    assert float((total - found.score).abs() / terms) < 1e-5
    assert "integrated" in str(found.receipt())


def test_a_network_that_is_no_transformer_is_refused():
    with pytest.raises(Mistake, match="expected a vision transformer whose blocks are known for readout='integrated'"):
        Encoder.wrap(nn.Conv2d(3, 4, 3), readout="integrated")
    with pytest.raises(Mistake, match=r"expected no layer beside readout='integrated', but one of .* was named"):
        Encoder.wrap(nn.Sequential(nn.Conv2d(3, 4, 3)), "0", readout="integrated")


def test_it_has_a_name_among_the_others():
    encoder = Encoder.named("demo-vit", readout="integrated")
    batch = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(batch).embedding, Encoder.named("demo-vit")(batch).embedding)
    assert encoder(batch).maps.shape[-2:] == (8, 8)
