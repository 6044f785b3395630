"""Patches as local features: those that the network's own mean is made of, and explanations that add up over them."""

import pytest
import torch
from token_networks import NETWORKS

from fsl_explain import Encoder, Mistake, explain
from fsl_explain.classifiers import local_features
from fsl_explain.cli.fitting_methods import fitting
from fsl_explain.heads.flatten import cells_of

NORM_BEFORE, NORM_BEHIND, OF_CLASS = "timm mean, norm before", "timm mean", "torchvision vit"


def wrapped(name: str) -> Encoder:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + 0.1)
    return Encoder.wrap(network, readout="mean")


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [NORM_BEFORE, OF_CLASS])
def test_their_mean_is_the_embedding_that_the_network_makes_of_normalized_patches(name):
    local = local_features(wrapped(name))(drawn(2))  # the first call, which compares with the network's own embedding
    plain = wrapped(name)(drawn(2))
    cells = cells_of(local.embedding, plain.embedding.shape[-1])
    torch.testing.assert_close(cells.mean(dim=-2), plain.embedding, rtol=1e-5, atol=1e-5)


def test_a_norm_behind_the_mean_is_put_on_each_cell():
    encoder = wrapped(NORM_BEHIND)
    local = local_features(wrapped(NORM_BEHIND))(drawn(2))
    cells = cells_of(local.embedding, encoder(drawn(2)).embedding.shape[-1])
    patches = encoder(drawn(2)).maps.flatten(2).mT
    torch.testing.assert_close(cells, encoder.head(patches.flatten(0, 1)).unflatten(0, patches.shape[:2]))


def test_a_patch_alone_is_not_compared_with_cells():
    with pytest.raises(Mistake, match="value-path needs one pooled value a map, but this rule compares the cells"):
        explain(wrapped(OF_CLASS), drawn(1)[0], drawn(2, 2), rule="max-sim", method="value-path")
    assert "value-path" not in fitting(["exact", "value-path"], wrapped(OF_CLASS), "max-sim")
    assert "value-path" in fitting(["exact", "value-path"], wrapped(OF_CLASS))


@pytest.mark.parametrize("name", [NORM_BEFORE, NORM_BEHIND, OF_CLASS])
@pytest.mark.parametrize("rule", ["max-sim", "frn"])
def test_explanations_add_up_over_them(name, rule):
    found = explain(wrapped(name), drawn(1)[0], drawn(2, 2), rule=rule, method="contrast")
    torch.testing.assert_close(found.cells.sum() + found.bias, found.score.float(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.contributions.sum() + found.bias, found.score.float(), rtol=1e-3, atol=1e-4)
    assert found.contributions.shape == (24,)
