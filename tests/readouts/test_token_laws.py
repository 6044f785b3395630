"""What must hold of cells whatever the weights are, and the same network in three libraries."""

import jaxtyping
import pytest
import torch
from copied_weights import OF_DINOV2, OF_TORCHVISION, OF_VIT, copied
from token_networks import of_transformers, shaken, timm_eva, timm_vit, token_images, token_network, torchvision_vit

from fsl_explain import Encoder, explain

OF_THE_CLASS_TOKEN = ("class", "class-direct", "class-last")
class_readouts = pytest.mark.parametrize("readout", OF_THE_CLASS_TOKEN)
VALUES = {
    "timm vit": lambda name: name.endswith("qkv.weight"),
    "torchvision vit": lambda name: name.endswith("in_proj_weight"),
    "open_clip vit": lambda name: name.endswith("in_proj_weight"),
}


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def explained(network, readout, query=None, size=(32, 32), **choice):
    supports = token_images(2, 2, seed=1, size=size)
    query = token_images(size=size) if query is None else query
    return explain(Encoder.wrap(network, readout=readout), query, supports, method="contrast", **choice)


@pytest.mark.parametrize("name", VALUES)
@class_readouts
def test_without_values_the_patches_write_nothing(name, readout):
    network = token_network(name)
    for parameter_name, weight in network.named_parameters():
        if VALUES[name](parameter_name):
            weight.data[-24:] = 0
    found = explained(network, readout)
    assert not found.cells.any()
    assert not found.contributions.any()
    assert found.residual <= 1e-12


@pytest.mark.parametrize("readout", [*OF_THE_CLASS_TOKEN, "mean", "class+mean"])
def test_without_positions_moved_patches_move_their_cells(readout):
    network = token_network("timm registers")
    network.pos_embed.data.zero_()
    image, order = token_images(), torch.randperm(16, generator=torch.Generator().manual_seed(3))
    squares = image.unflatten(-1, (4, 8)).unflatten(-3, (4, 8)).permute(1, 3, 0, 2, 4).flatten(0, 1)
    moved = squares[order].unflatten(0, (4, 4)).permute(2, 0, 3, 1, 4).flatten(-2).flatten(1, 2)
    before, after = explained(network, readout), explained(network, readout, moved)
    torch.testing.assert_close(after.cells.flatten(), before.cells.flatten()[order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(after.exact_score, before.exact_score)
    assert (after.cells - before.cells).abs().max() > 1e-4


@class_readouts
def test_one_patch_holds_all_that_patches_do(readout):
    found = explained(shaken(timm_vit(img_size=8)), readout, size=(8, 8))
    assert found.cells.shape == (1, 1)
    torch.testing.assert_close(found.cells.sum(), found.contributions.sum())
    torch.testing.assert_close(found.cells.sum() + found.bias, found.exact_score)


def two_vits():
    ours = shaken(timm_vit(mlp_ratio=2.0))
    theirs = of_transformers("ViT", layer_norm_eps=1e-6)
    theirs.pooler = None
    return ours, [copied(ours, torchvision_vit(), OF_TORCHVISION), copied(ours, theirs, OF_VIT)]


def two_dinov2s():
    ours = shaken(timm_vit(init_values=0.1))
    return ours, [copied(ours, of_transformers("Dinov2"), OF_DINOV2)]


@pytest.mark.parametrize("readout", [*OF_THE_CLASS_TOKEN, "mean", "class+mean"])
@pytest.mark.parametrize("networks", [two_vits, two_dinov2s])
def test_one_network_in_several_libraries(networks, readout):
    ours, others = networks()
    expected = explained(ours, readout)
    for other in others:
        found = explained(other, readout)
        torch.testing.assert_close(found.exact_score, expected.exact_score, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.cells, expected.cells, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.contributions, expected.contributions, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.support_cells, expected.support_cells, rtol=1e-9, atol=1e-12)
        assert list(found.named) == list(expected.named)
        for name, value in expected.named.items():
            torch.testing.assert_close(found.named[name], value, rtol=1e-9, atol=1e-12)


@class_readouts
def test_attention_by_two_roads(readout):
    """Fused or written out, as a network's own switch has it."""
    network = token_network("timm vit")
    expected = explained(network, readout)
    for block in network.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(explained(network, readout).cells, expected.cells, rtol=1e-10, atol=1e-12)


def test_the_official_layout_of_dinov2_is_known():
    """Its blocks lie in a list, its registers are called so, and its gated layers have names of their own."""
    network = token_network("timm registers")
    network.blocks = torch.nn.ModuleList(network.blocks)
    network.forward = lambda images: _through(network, images)
    found = explained(network, "class")
    torch.testing.assert_close(found.cells, explained(token_network("timm registers"), "class").cells)


def _through(network, images):
    tokens = network.norm_pre(network._pos_embed(network.patch_embed(images)))
    for block in network.blocks:
        tokens = block(tokens)
    return network.norm(tokens)[:, 0]


def test_registers_may_be_given_to_eva():
    network = shaken(timm_eva(num_reg_tokens=2, global_pool="token"))
    found = explained(network, "class")
    assert set(found.named) == {"class token", "registers", "biases"}
    assert found.residual <= 1e-12
