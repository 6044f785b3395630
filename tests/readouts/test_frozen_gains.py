"""Cells and named parts against autograd through the network's own forward with its gains detached."""

import jaxtyping
import pytest
import torch
from references.direct_effects import direct_effects
from references.frozen_gains import FrozenGains, pooled_by_gradient, tokens_by_gradient
from token_networks import NETWORKS, PAIRS, POOLED_BY_ATTENTION, token_encoder, token_images, token_network

from fsl_explain import Encoder, explain

OF_A_CLASS_TOKEN = [pair for pair in PAIRS if pair[1] in ("class", "class-last", "class+mean")]
BESIDE = ("registers", "biases")


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def explained(encoder):
    """The exact explanation of one image by inner product, and the one support that is its reference."""
    found = explain(encoder, token_images(), token_images(2, 1, seed=1), method="exact", similarity="inner-product")
    return found, encoder(token_images(2, seed=1).reshape(2, *token_images().shape)).embedding[found.target]


def assert_close(ours, theirs, size):
    assert (ours - theirs).abs().max() <= 1e-10 * size


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_gains_do_not_change_what_a_network_computes(name):
    network = token_network(name)
    with torch.no_grad():
        outputs = [network(token_images(2))]
        with FrozenGains():
            outputs.append(network(token_images(2)))
    usual, frozen = (one if isinstance(one, torch.Tensor) else one[0] for one in outputs)
    torch.testing.assert_close(frozen, usual, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("name", "readout"), OF_A_CLASS_TOKEN)
def test_the_class_tokens_stream(name, readout):
    encoder = token_encoder(name, readout)
    found, reference = explained(encoder)
    written, roles = tokens_by_gradient(encoder, token_images(), reference), encoder.tokens.parts.roles
    size = found.cells.abs().sum() + sum(value.abs() for value in found.named.values())
    cells = written.by_token[len(roles) :]
    cells = cells if readout != "class+mean" else cells + written.of_cells_behind
    assert_close(found.cells.flatten(), cells, size)
    assert_close(found.named["biases"], written.biases, size)
    registers = sum(value for value, role in zip(written.by_token, roles, strict=False) if role == "registers")
    assert_close(found.named.get("registers", torch.zeros(())), torch.as_tensor(registers), size)
    of_class = sum(value for value, role in zip(written.by_token, roles, strict=False) if role != "registers")
    assert_close(sum(value for name, value in found.named.items() if name not in BESIDE), of_class, size)
    assert_close(found.exact_score, written.score, size)
    if readout != "class-last":
        own = {role: value for value, role in zip(written.by_token, roles, strict=False) if role != "registers"}
        assert all(abs(found.named[role] - value) <= 1e-10 * size for role, value in own.items())


@pytest.mark.parametrize("name", POOLED_BY_ATTENTION)
def test_attention_that_pools(name):
    encoder = token_encoder(name)
    found, reference = explained(encoder)
    cells = pooled_by_gradient(encoder, token_images(), reference)
    assert_close(found.cells.flatten(), cells, found.cells.abs().sum())


def test_direct_effects_summed_over_layers_and_heads():
    encoder = token_encoder("open_clip vit", "class-direct")
    found, reference = explained(encoder)
    effects = direct_effects(encoder.network, token_images(), reference).sum(dim=(0, 1))
    size = effects.abs().sum()
    assert_close(found.cells.flatten(), effects[1:], size)
    assert_close(found.named["class token to itself"], effects[0], size)


@pytest.mark.parametrize("layer", range(3))
def test_an_mlps_line_is_what_it_adds_to_the_class_token(layer):
    encoder = token_encoder("open_clip vit", "class-direct")
    found, reference = explained(encoder)
    outputs, last = [], []
    encoder.network.transformer.resblocks[layer].mlp.register_forward_hook(lambda *of: outputs.append(of[-1][0, 0]))
    encoder.network.ln_post.register_forward_pre_hook(lambda _, given: last.append(given[0].reshape(-1, 24)[0]))
    with torch.no_grad():
        encoder.network(token_images()[None])
    norm, projection = encoder.network.ln_post, encoder.network.proj
    centered = outputs[0] - outputs[0].mean()
    gain = norm.weight / (last[0].var(correction=0) + norm.eps).sqrt()
    expected = (centered * gain) @ projection @ reference
    assert_close(found.named[f"MLP {layer + 1}"], expected, found.cells.abs().sum() + expected.abs())


def test_without_its_layer_scale_the_witness_disagrees():
    """The comparison above can fail: a witness of other weights."""
    encoder = token_encoder("timm registers", "class")
    found, reference = explained(encoder)
    other = Encoder.wrap(token_network("timm registers"), readout="class")
    with torch.no_grad():
        other.network.blocks[1].ls1.gamma *= 1.01
    written = tokens_by_gradient(other, token_images(), reference)
    difference = (found.cells.flatten() - written.by_token[3:]).abs().max()
    assert difference > 1e-5 * found.cells.abs().sum()
